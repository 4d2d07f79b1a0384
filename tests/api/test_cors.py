"""Other sites' pages, and the ids by which requests are spoken of."""
import json
import re

import pytest

from harness import HELLO, wait_until

APP, EVIL = "https://app.example", "https://evil.example"
CORS = "Access-Control-"
FRESH = re.compile("req_[0-9a-f]{32}")


def cors(answer):
    return {name[len(CORS) :]: value for name, value in answer.headers.items() if name.startswith(CORS)}


def preflight(server, path="/execute", origin=APP, method="POST"):
    return server.request("OPTIONS", path, headers={"Origin": origin, f"{CORS}Request-Method": method, f"{CORS}Request-Headers": "authorization,content-type"})


@pytest.fixture(scope="module")
def open_server(launch):
    running = launch("--cors-origins", f"{APP} http://localhost:3000")
    yield running
    running.stop()


def test_off_by_default(server):
    answer = server.request("GET", "/v1/jail", headers={"Origin": APP})
    assert answer.status == 200 and not cors(answer) and "Vary" not in answer.headers
    answer = preflight(server)
    assert answer.status == 405 and answer.headers["Allow"] == "POST" and not cors(answer)


@pytest.mark.parametrize("origin", (APP, "http://localhost:3000"))
def test_a_listed_origin(open_server, origin):
    for path in ("/v1/jail", "/healthz", "/nowhere"):
        answer = open_server.request("GET", path, headers={"Origin": origin})
        assert answer.headers[f"{CORS}Allow-Origin"] == origin
        assert answer.headers["Vary"] == "Origin"
        assert {"Location", "Preference-Applied", "Retry-After", "X-Request-Id"} == set(answer.headers[f"{CORS}Expose-Headers"].split(", "))
    answer = open_server.request("POST", "/execute", json.dumps({"script": HELLO}), {"Origin": origin, "Content-Type": "application/json"})
    assert answer.status == 200 and answer.headers[f"{CORS}Allow-Origin"] == origin


@pytest.mark.parametrize("origin", (EVIL, "null", "https://app.example:8443", "https://app.example.evil.example", "HTTPS://APP.EXAMPLE", "https://app.exampl"))
def test_an_origin_that_is_not_listed(open_server, origin):
    answer = open_server.request("GET", "/v1/jail", headers={"Origin": origin})
    assert answer.status == 200 and not cors(answer) and answer.headers["Vary"] == "Origin"
    assert preflight(open_server, origin=origin).status == 403


def test_preflight(open_server):
    for path, allow in (("/execute", "POST"), ("/v1/jail", "GET, HEAD"), ("/v1/runs/x", "GET, HEAD, DELETE")):
        answer = preflight(open_server, path)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers[f"{CORS}Allow-Origin"] == APP
        assert answer.headers[f"{CORS}Allow-Methods"] == allow
        allowed = answer.headers[f"{CORS}Allow-Headers"].lower().split(", ")
        assert {"authorization", "content-type", "prefer", "last-event-id", "x-request-id"} <= set(allowed)
        assert int(answer.headers[f"{CORS}Max-Age"]) > 0


def test_options_that_is_no_preflight(open_server):
    assert open_server.request("OPTIONS", "/execute").status == 405
    assert open_server.request("OPTIONS", "/execute", headers={"Origin": APP}).status == 405
    assert preflight(open_server, "/nowhere").status == 404


def test_a_connection_goes_on_after_a_preflight(open_server):
    head = f"OPTIONS /execute HTTP/1.1\r\nHost: x\r\nOrigin: {APP}\r\n{CORS}Request-Method: POST\r\n\r\n"
    with open_server.wire() as wire:
        for _ in range(3):
            wire.send(head.encode())
            assert wire.answer(head=True).status == 204


def test_every_origin(start_server):
    server = start_server("--cors-origins", "*")
    answer = server.request("GET", "/v1/jail", headers={"Origin": EVIL})
    assert answer.headers[f"{CORS}Allow-Origin"] == "*" and "Vary" not in answer.headers
    assert preflight(server, origin=EVIL).status == 204
    assert not cors(server.request("GET", "/v1/jail"))


def test_a_preflight_needs_no_key(start_server, cli, public_dir):
    path = public_dir / "keys"
    assert cli("key", "new", "x", "--keys-file", path).returncode == 0
    server = start_server("--cors-origins", APP, "--keys-file", path)
    assert preflight(server).status == 204
    answer = server.request("GET", "/v1/jail", headers={"Origin": APP})
    assert answer.status == 401 and answer.headers[f"{CORS}Allow-Origin"] == APP, "the page may read why"


@pytest.mark.parametrize("value", ("https://app.example/", "app.example", "ftp://a.example", "https://", "https://A.example", "* https://a.example", "https://a,https://b"))
def test_a_list_that_is_none(cli, value):
    ended = cli("serve", "--cors-origins", value, "--check-config")
    assert ended.returncode == 2
    assert b"cors-origins" in ended.stderr and b"no origin" in ended.stderr


# Request ids.


@pytest.mark.parametrize("given", ("abc", "0", "A-b_c.d~e:f/g+h=i@j", "x" * 128, "6f1ed002-ab5e-4d0c-9c3a-5d0f7e8a9b1c"))
def test_a_given_id_comes_back(server, given):
    for method, path in (("GET", "/healthz"), ("GET", "/nowhere"), ("POST", "/execute")):
        answer = server.request(method, path, b"{}" if method == "POST" else None, {"X-Request-Id": given, "Content-Type": "application/json"})
        assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ("", " ", "a b", "x" * 129, 'a"b', "a,b", "<script>", "é"))
def test_an_id_that_is_none_is_replaced(server, given):
    answer = server.request("GET", "/healthz", headers={"X-Request-Id": given.encode()})
    assert answer.status == 200 and FRESH.fullmatch(answer.headers["X-Request-Id"])


def test_every_answer_has_an_id_of_its_own(server):
    answers = [server.request("GET", path) for path in ("/healthz", "/healthz", "/v1/jail", "/", "/nowhere", "/openapi.json")]
    answers += [server.execute(HELLO), server.post_run(HELLO), server.execute("def main(): 1/0"), server.post("/execute", "{"), server.request("PUT", "/execute")]
    for raw in (b"GARBAGE\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST /execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"):
        answers.append(server.raw(raw)[0])
    answers.append(server.request("POST", "/v1/runs", json.dumps({"script": HELLO}), {"Content-Type": "application/json", "Accept": "text/event-stream"}))
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert all(FRESH.fullmatch(each) for each in ids), ids
    assert len(set(ids)) == len(ids)


def test_an_id_given_twice_is_malformed(server):
    answer, _ = server.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n")
    assert answer.status == 400


def test_the_log_has_it(start_server):
    server = start_server()
    server.request("POST", "/execute", json.dumps({"script": HELLO}), {"X-Request-Id": "find-me", "Content-Type": "application/json"})
    wait_until(lambda: any(json.loads(line).get("request") == "find-me" for line in server.log_lines() if line), "the run's line")
