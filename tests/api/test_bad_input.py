"""The "API" row of THREATS.md over raw sockets: a clear 4xx, nothing spawned, and the next request is served."""
import gzip
import json
import pathlib
import re
import resource
import socket
import time

import pytest

from harness import HELLO, MIB, background

BODY = json.dumps({"script": HELLO}).encode()
OK_BODY = b'{"result":{"message":"hello"},"stdout":""}'


def request(*headers, body=BODY, line=b"POST /execute HTTP/1.1", end=b"\r\n", length=True, kind=b"application/json"):
    lines = [line, b"Host: localhost"]
    lines += [b"Content-Type: " + kind] if kind else []
    lines += [b"Content-Length: %d" % len(body)] if length else []
    return end.join([*lines, *headers, b"", b""]) + body


GOOD = request()


@pytest.fixture(autouse=True)
def still_serves(server):
    yield
    server.assert_serves()


# Where a request ends must never be in doubt: answered, and the connection closed.

CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d" % len(BODY)
FRAMING = {
    "TE alone": (request(b"Transfer-Encoding: chunked", body=CHUNKED, length=False), 411),
    "CL and TE": (request(b"Transfer-Encoding: chunked", body=CHUNKED), 411),
    "TE and CL": (request(b"Transfer-Encoding: chunked", LENGTH, body=CHUNKED, length=False), 411),
    "TE identity": (request(b"Transfer-Encoding: identity"), 411),
    "TE gzip, chunked": (request(b"Transfer-Encoding: gzip, chunked", body=CHUNKED, length=False), 411),
    "TE xchunked": (request(b"Transfer-Encoding: xchunked"), 411),
    "TE upper case": (request(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKED), 411),
    "TE empty": (request(b"Transfer-Encoding:"), 411),
    "TE twice": (request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKED), 411),
    "TE with a space before the colon": (request(b"Transfer-Encoding : chunked", body=CHUNKED), 400),
    "CL twice, same": (request(LENGTH), 400),
    "CL twice, other": (request(b"Content-Length: 5"), 400),
    "CL twice, second larger": (request(b"Content-Length: 5000"), 400),
    "CL list": (request(b"Content-Length: %d, %d" % (len(BODY), len(BODY)), length=False), 400),
    "CL word": (request(b"Content-Length: abc", length=False), 400),
    "CL negative": (request(b"Content-Length: -1", length=False), 400),
    "CL plus": (request(b"Content-Length: +%d" % len(BODY), length=False), 400),
    "CL hex": (request(b"Content-Length: 0x10", length=False), 400),
    "CL float": (request(b"Content-Length: 10.0", length=False), 400),
    "CL empty": (request(b"Content-Length:", length=False), 400),
    "CL inner space": (request(b"Content-Length: 1 0", length=False), 400),
    "CL 2^64": (request(b"Content-Length: 18446744073709551616", length=False), 400),
    "CL 2^64 + body": (request(b"Content-Length: %d" % (2**64 + len(BODY)), length=False), 400),
    "CL 2^63": (request(b"Content-Length: 9223372036854775808", length=False), 400),
    "CL with a space before the colon": (request(b"Content-Length : 5", length=False), 400),
    "no CL": (request(length=False, body=b""), 411),
    "bare LF hides TE": (request(b"X: a\nTransfer-Encoding: chunked"), 400),
    "bare LF hides CL": (request(b"X: a\nContent-Length: 5"), 400),
    "bare LF, TE": (request(b"Transfer-Encoding: chunked", body=CHUNKED, end=b"\n"), 400),
    "NUL after TE": (request(b"Transfer-Encoding\0: chunked", body=CHUNKED), 400),
    "folded CL": (request(b"Content-Length:\r\n 5"), 400),
    "folded TE": (request(b"Transfer-Encoding:\r\n chunked", body=CHUNKED), 411),
}


def assert_refused(wire, status, problem=False):
    """One answer, with the status and the one line that the face has for it, and then the end."""
    answer = wire.answer()
    assert answer is not None, "closed without an answer"
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["Connection"] == "close"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Date"]
    if problem:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status and answer.json["detail"]
    else:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.error
    assert wire.closed(), "what follows on this connection could be smuggled"
    assert wire.rest == b"", "something follows the one answer"


@pytest.mark.parametrize("data, status", FRAMING.values(), ids=FRAMING)
def test_doubtful_framing(server, data, status):
    with server.wire() as wire:
        wire.send(data)
        assert_refused(wire, status)


@pytest.mark.parametrize("data, status", FRAMING.values(), ids=FRAMING)
def test_doubtful_framing_on_the_whole_face(server, data, status):
    with server.wire() as wire:
        wire.send(data.replace(b"/execute", b"/v1/runs", 1))
        assert_refused(wire, status, problem=True)


@pytest.mark.parametrize("data", [data for data, _ in FRAMING.values()], ids=FRAMING)
def test_doubtful_framing_of_a_later_request(server, data):
    """libmicrohttpd may be the one to refuse these, in its own words; they are refused, and nothing follows."""
    with server.wire() as wire:
        wire.send(GOOD)
        assert wire.answer().body == OK_BODY
        wire.send(data)
        answer = wire.answer()
        assert answer is not None and answer.status in (400, 411, 413), answer
        assert wire.closed()
        assert b"HTTP/1.1 2" not in wire.rest, "the body was answered as a request of its own"


def test_doubtful_framing_in_pieces(server):
    with server.wire() as wire:
        data = request(b"Transfer-Encoding: chunked", body=CHUNKED)
        for at in range(0, len(data), 7):
            wire.send(data[at : at + 7])
        assert_refused(wire, 411)


def test_nothing_is_smuggled(server):
    """A whole request where one reading of the framing ends the body: it must not be answered."""
    for headers in ((b"Transfer-Encoding: chunked",), (b"Transfer-Encoding:\r\n chunked",), (b"Transfer-Encoding : chunked",), (b"Content-Length: 5",)):
        with server.wire() as wire:
            wire.send(request(*headers, body=b"0\r\n\r\n" + GOOD))
            assert wire.answer().status in (400, 411)
            assert wire.closed()
            assert OK_BODY not in wire.rest


# What a proxy would not let through, or what no client of ours sends.

MALFORMED = {
    "bare LF": (request(end=b"\n"), 400),
    "bare LF at the end": (request(b"X: y")[: -len(BODY) - 2] + b"\n" + BODY, 400),
    "lone CR ends a header": (request(b"X: a\rTransfer-Encoding: chunked"), 400),
    "lone CR in a value": (request(b"X: a\rb"), 400),
    "NUL in a value": (request(b"X: a\0b"), 400),
    "escape in a value": (request(b"X: \x1b[2J"), 400),
    "no colon": (request(b"Nonsense"), 400),
    "space in a name": (request(b"Bad Name: x"), 400),
    "two hosts": (request(b"Host: other"), 400),
    "no host": (b"POST /execute HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + BODY, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 400),
    "garbage": (bytes(range(256)) * 16, 400),
    "no version": (b"POST /execute\r\n\r\n", 400),
    "no path": (b"POST\r\n\r\n", 400),
    "two spaces": (request(line=b"POST  /execute HTTP/1.1"), 400),
    "a third word": (request(line=b"POST /execute x HTTP/1.1"), 400),
    "HTTP/9.9": (request(line=b"POST /execute HTTP/9.9"), 505),
    "http/1.1": (request(line=b"POST /execute http/1.1"), 400),
    "a huge header": (request(b"X: " + b"x" * (1 << 20)), 431),
    "a head of 16 KiB and one byte": (request(b"X: " + b"x" * (16384 - len(request(b"X: ")) + len(BODY) + 1)), 431),
    "many headers": (request(*[b"X-%d: y" % i for i in range(20000)]), 431),
    "many small headers": (request(*[b"X:"] * 1000), 431),
    "many cookies": (request(b"Cookie: " + b"a=b;" * 2000), 431),
    "a huge path": (request(line=b"POST /" + b"x" * (1 << 20) + b" HTTP/1.1"), 414),
    "a long query": (request(line=b"POST /?" + b"&" * 300 + b" HTTP/1.1"), 414),
    "a huge method": (request(line=b"X" * (1 << 20) + b" /execute HTTP/1.1"), 400),
}


@pytest.mark.parametrize("data, status", MALFORMED.values(), ids=MALFORMED)
def test_malformed(server, data, status):
    with server.wire() as wire:
        wire.send(data)
        assert_refused(wire, status)


def test_a_head_that_its_sender_ends(server):
    with server.wire() as wire:
        wire.send(GOOD[:30])
        wire.socket.shutdown(socket.SHUT_WR)
        assert_refused(wire, 400)


def test_a_refused_head_request_has_no_body(server):
    with server.wire() as wire:
        wire.send(b"HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert wire.answer(head=True).status == 411
        assert wire.closed() and wire.rest == b""


# The largest heads that pass come through libmicrohttpd as well.

LARGE = {
    "one header": [b"X: " + b"x" * (16384 - len(request(b"X: ")) + len(BODY))],
    "100 headers of 150 bytes": [b"X-%02d: " % i + b"x" * 142 for i in range(100)],
    "300 small headers": [b"X:"] * 300,
    "300 cookies": [b"Cookie: " + b"; ".join(b"a=%d" % i for i in range(300))],
}


@pytest.mark.parametrize("headers", LARGE.values(), ids=LARGE)
def test_a_large_head(server, headers):
    with server.wire() as wire:
        for _ in range(2):
            wire.send(request(*headers))
            assert wire.answer().body == OK_BODY


@pytest.mark.parametrize("query", (b"&" * 254, b"a&" * 127, b"a=b&" * 63))
def test_a_query_of_many_parameters(server, query):
    with server.wire() as wire:
        wire.send(request(b"Connection: close", line=b"POST /execute?x" + query + b" HTTP/1.1"))
        assert_refused(wire, 400)


# Bodies that are not a request: 400, and what is wrong and where.

BODIES = {
    "empty": (b"", r".+"),
    "white space": (b" \n", r".+"),
    "no JSON": (b"script", r".*\b(line|byte|offset|column|position)\b.*"),
    "cut off": (BODY[:-1], r".+"),
    "trailing bytes": (BODY + b"x", r".+"),
    "two values": (BODY + BODY, r".+"),
    "trailing NUL": (BODY + b"\0", r".+"),
    "an array": (b"[" + BODY + b"]", r".*object.*"),
    "a string": (b'"def main(): return {}"', r".*object.*"),
    "a number": (b"1", r".*object.*"),
    "null": (b"null", r".*object.*"),
    "single quotes": (b"{'script': ''}", r".+"),
    "trailing comma": (b'{"script": "",}', r".+"),
    "comment": (b'{"script": "" /* x */}', r".+"),
    "NaN": (b'{"script": "", "input": NaN}', r".+"),
    "leading zero": (b'{"script": "", "input": 01}', r".+"),
    "bare control character": (b'{"script": "a\nb"}', r".+"),
    "bad escape": (b'{"script": "\\x41"}', r".+"),
    "cut escape": (b'{"script": "\\u12"}', r".+"),
    "duplicate keys": (b'{"script": "a", "script": "b"}', r".*(?i:duplicate).*"),
    "duplicate keys, escaped": (b'{"script": "a", "\\u0073cript": "b"}', r".*(?i:duplicate).*"),
    "duplicate keys, deep": (b'{"script": "", "input": {"a": [{"k": 1, "k": 2}]}}', r".*(?i:duplicate).*"),
    "duplicate limits": (b'{"script": "", "limits": {"wall_ms": 1000, "wall_ms": 9000}}', r".*(?i:duplicate).*"),
    "invalid UTF-8": (b'{"script": "\xff"}', r".*UTF-8.*"),
    "overlong UTF-8": (b'{"script": "\xc0\x80"}', r".*UTF-8.*"),
    "surrogate as UTF-8": (b'{"script": "\xed\xa0\x80"}', r".*UTF-8.*"),
    "invalid UTF-8 in a key": (b'{"script": "", "\xff": 1}', r".*UTF-8.*"),
    "BOM": (b"\xef\xbb\xbf" + BODY, r".+"),
    "UTF-16": (BODY.decode().encode("utf-16"), r".+"),
    "deep arrays": (b'{"script": "", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", r".*(?i:deep|nest).*"),
    "deep objects": (b'{"script": "", "input": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, r".*(?i:deep|nest).*"),
    "unclosed arrays": (b"[" * 1_000_000, r".+"),
    "form": (b"script=def+main%28%29", r".+"),
}


@pytest.mark.parametrize("body, pattern", BODIES.values(), ids=BODIES)
def test_bad_body(server, body, pattern):
    answer = server.post("/execute", body)
    assert answer.status == 400, (answer.status, answer.body)
    assert re.fullmatch(pattern, answer.error), answer.error
    problem = server.post("/v1/runs", body)
    assert problem.status == 400
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json["status"] == 400
    assert problem.json["detail"]


def test_where_a_body_is_wrong_is_said(server):
    answer = server.post("/execute", b'{"script": "x",\n "input": tru }')
    assert answer.status == 400
    assert re.search(r"\b2\b", answer.error), f"names line 2: {answer.error}"


@pytest.mark.parametrize("count", (700, 795))
def test_nesting_that_is_allowed(server, count):
    body = b'{"script": "def main(x): return {}", "input": ' + b"[" * count + b"]" * count + b"}"
    assert server.post("/execute", body).status == 200


@pytest.mark.parametrize("body", (b"\xff\xfe", b"def main(): return {'x': '\xe9'}", b"\xed\xa0\x80"), ids=ascii)
def test_a_python_body_that_is_not_utf8(server, body):
    answer = server.post("/execute", body, "text/x-python")
    assert answer.status == 400
    assert "UTF-8" in answer.error


def test_an_empty_python_body(server):
    answer = server.post("/execute", b"", "text/x-python")
    assert answer.status == 400
    assert answer.error


def test_many_keys_are_checked_in_good_time(server):
    body = b'{"script": "def main(x): return {}", "input": {' + b",".join(b'"%d":1' % i for i in range(400_000)) + b"}}"
    assert server.post("/execute", body).status == 200


# Routes, methods, types.


@pytest.mark.parametrize("method", ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"))
@pytest.mark.parametrize("path", ("/execute", "/v1/runs"))
def test_wrong_method(server, method, path):
    answer = server.request(method, path)
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]
    if method != "HEAD" and path == "/execute":
        assert answer.error


@pytest.mark.parametrize("method", ("TRACE", "CONNECT"))
def test_methods_for_proxies(server, method):
    answer, _ = server.raw(f"{method} /execute HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer is not None and answer.status in (400, 405, 501)


def test_a_head_answer_has_no_body(server):
    with server.wire() as wire:
        wire.send(b"HEAD /execute HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert wire.answer(head=True).status == 405
        assert wire.closed()


@pytest.mark.parametrize("path", ("/nope", "/Execute", "/execute/", "//execute", "/execute/../execute", "/v1", "/v2/runs", "/%65xecute%00"))
def test_not_found(server, path):
    answer = server.post(path, BODY)
    assert answer.status in (400, 404), answer.body
    assert answer.body


@pytest.mark.parametrize("kind", ("", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data",
                                  "application/jsonx", "application", "text/x-python2", "json", "application/json-seq"))
@pytest.mark.parametrize("path", ("/execute", "/v1/runs"))
def test_unsupported_type(server, kind, path):
    answer = server.post(path, BODY, kind)
    assert answer.status == 415, (answer.status, answer.body)
    if path == "/execute":
        assert "application/json" in answer.error


def test_no_type_at_all(server):
    answer, _ = server.raw(request(b"Connection: close", kind=b""))
    assert answer.status == 415


@pytest.mark.parametrize("kind", ("application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8", "application/json ; x=y"))
def test_types_that_mean_json(server, kind):
    assert server.post("/execute", BODY, kind).body == OK_BODY


@pytest.mark.parametrize("kind", ("text/x-python; charset=utf-8", "TEXT/X-PYTHON"))
def test_types_that_mean_python(server, kind):
    assert server.post("/execute", HELLO.encode(), kind).body == OK_BODY


@pytest.mark.parametrize("coding", ("gzip", "deflate", "br", "x"))
def test_compressed_bodies(server, coding):
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = server.request("POST", "/execute", gzip.compress(BODY), headers)
    assert answer.status in (400, 415), answer.status
    assert answer.error


# Size.


def test_an_oversized_body_is_refused_before_it_is_sent(server):
    with server.wire() as wire:
        wire.send(request(b"Content-Length: %d" % (9 * MIB), length=False, body=b""))
        answer = wire.answer()
        assert answer.status == 413
        assert "8 MiB" in answer.error


def test_an_oversized_body_with_expect_is_refused_before_it_is_sent(server):
    with server.wire() as wire:
        wire.send(request(b"Expect: 100-continue", b"Content-Length: %d" % (9 * MIB), length=False, body=b""))
        answer = wire.answer()
        assert answer.status in (413, 417)


def test_an_oversized_body_that_is_sent_all_the_same(server):
    with server.wire() as wire:
        wire.send(request(body=b" " * (9 * MIB)))
        answer = wire.answer()
        assert answer is None or answer.status == 413


def test_a_body_of_exactly_the_limit(server):
    body = BODY + b" " * (8 * MIB - len(BODY))
    assert server.post("/execute", body).body == OK_BODY
    assert server.post("/execute", body + b" ").status == 413


# Time and connections.


def test_a_slow_body_holds_up_nobody(server):
    with server.wire() as slow:
        slow.send(GOOD[:-20])
        for _ in range(5):
            server.assert_serves()
        slow.send(GOOD[-20:])
        answer = slow.answer()
        assert answer.body == OK_BODY


def test_a_slow_header_holds_up_nobody(server):
    with server.wire() as slow:
        for byte in GOOD[:30]:
            slow.send(bytes([byte]))
        server.assert_serves()
        slow.send(GOOD[30:])
        assert slow.answer().body == OK_BODY


def test_a_head_byte_by_byte(server):
    head = request(b"X: " + b"x" * 8000)
    with server.wire() as slow:
        slow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head:
            slow.send(bytes([byte]))
        assert slow.answer().body == OK_BODY
        slow.send(GOOD)
        assert slow.answer().body == OK_BODY


@pytest.mark.parametrize("sent, status", ((b"", None), (b"P", 408), (GOOD[:35], 408), (GOOD[:-1], 408)), ids=ascii)
def test_a_request_that_never_ends_is_given_up(start_server, sent, status):
    server = start_server("--idle-timeout-ms", "3000", "--body-timeout-ms", "3000")
    with server.wire() as wire:
        wire.send(sent)
        time.sleep(0.6)
        wire.send(sent and b" "[: sent != GOOD[:-1]])  # one byte more gives no more time
        before = server.front().ticks
        answer = wire.answer()
        assert server.front().ticks - before < 20, "it waits, it does not spin"
        assert (answer and answer.status) == status
        assert not answer or answer.error
        assert wire.closed()


def test_a_unix_socket_gets_the_same_first_look(start_server, public_dir):
    server = start_server(listen=public_dir / "socket")
    for data, status in (FRAMING["CL and TE"], FRAMING["CL empty"], MALFORMED["bare LF"], MALFORMED["a huge header"]):
        with server.wire() as wire:
            wire.send(data)
            assert_refused(wire, status)
    with server.wire() as wire:
        whole = request(b"X: " + b"x" * 1000)
        for at in range(0, len(whole), 40):  # each piece holds some of our send buffer until it is taken
            wire.send(whole[at : at + 40])
            time.sleep(0.002)
        assert wire.answer().body == OK_BODY
    # As fast as can be, a byte at a time: its sender's buffer is full long before the head is whole.
    for _ in range(5):
        with server.wire() as wire:
            for byte in request(b"X: " + b"x" * 4000):
                wire.send(bytes([byte]))
            assert wire.answer().body == OK_BODY


def test_a_body_that_never_ends_is_given_up_by_its_client(server):
    wires = [server.wire() for _ in range(20)]
    for wire in wires:
        wire.send(GOOD[:-1])
    server.assert_serves()
    for wire in wires:
        wire.close()


def resident(pid):
    (line,) = [line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def test_10000_idle_connections(server):
    """As many as descriptors let us and the server have; some have begun a request. They cost the front next to nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    front, sockets = server.front().pid, []
    before = resident(front)
    try:
        for _ in range(max(500, min(10_000, hard // 2 - 3000))):
            sockets.append(socket.create_connection(server.address))
        for each in sockets[::2]:
            each.send(b"POST /exe")
        server.assert_serves()
        assert resident(front) < before + 64 * MIB
    finally:
        for each in sockets:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HOSTS = {b"a b": 400, b"http://x/": 400, b"x/y": 400, b"x@y": 400, b"\xc3\xa9": 400, b"": 200, b"x:8080": 200, b"[::1]:80": 200, b" x \t": 200}


@pytest.mark.parametrize("host, status", HOSTS.items())
def test_what_is_no_host(server, host, status):
    answer, _ = server.raw(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.status == status, answer.body


def test_concurrent_requests(server):
    futures = [background(server.result, f"def main():\n    return {{'n': {n}}}\n") for n in range(16)]
    assert [future.result(60)["n"] for future in futures] == list(range(16))


# HTTP that is unusual and right.


def test_keep_alive(server):
    with server.wire() as wire:
        for _ in range(3):
            wire.send(GOOD)
            assert wire.answer().body == OK_BODY


def test_pipelined_requests_are_answered_in_order(server):
    bodies = [json.dumps({"script": f"def main(): return {{'n': {n}}}"}).encode() for n in range(4)]
    with server.wire() as wire:
        wire.send(b"".join(request(body=body) for body in bodies))
        assert [wire.answer().json["result"]["n"] for _ in bodies] == [0, 1, 2, 3]


def test_a_request_after_a_refused_one_on_the_same_connection(server):
    with server.wire() as wire:
        wire.send(request(body=b"{}"))
        assert wire.answer().status == 400
        wire.send(GOOD)
        answer = wire.answer()
        assert answer is None or answer.body == OK_BODY


def test_expect_100_continue(server):
    with server.wire() as wire:
        wire.send(request(b"Expect: 100-continue", LENGTH, length=False, body=b""))
        answer = wire.answer()
        assert answer.status == 100
        wire.send(BODY)
        assert wire.answer().body == OK_BODY


def test_http_1_0(server):
    with server.wire() as wire:
        wire.send(request(line=b"POST /execute HTTP/1.0"))
        assert wire.answer().body == OK_BODY
        assert wire.closed()


def test_a_query_string_is_ignored_or_refused(server):
    answer, _ = server.raw(request(b"Connection: close", line=b"POST /execute?x=%00&y HTTP/1.1"))
    assert (answer.status, answer.body) == (200, OK_BODY) or 400 <= answer.status < 500


@pytest.mark.parametrize("scheme", (b"http", b"HTTP", b"https", b"Https"))
def test_an_absolute_uri_is_served(server, scheme):
    answer, _ = server.raw(request(b"Connection: close", line=b"POST " + scheme + b"://localhost/execute HTTP/1.1"))
    assert (answer.status, answer.body) == (200, OK_BODY)


# An absolute target whose path is empty, or which only looks like one.
TARGETS = {b"http://x": 200, b"https://x/": 200, b"http://x?": 200, b"http://x?/v1/": 400, b"http://x?/execute": 400, b"httpx://x/": 404, b"*": 404}


@pytest.mark.parametrize("target, status", TARGETS.items(), ids=map(ascii, TARGETS))
def test_targets(server, target, status):
    answer, _ = server.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == ("text/plain; charset=utf-8" if status == 200 else "application/json")
