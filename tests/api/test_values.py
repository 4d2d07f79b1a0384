"""Values survive exactly: what Python made is what the client reads, byte for byte."""
import json

import pytest

from harness import MIB


def result_bytes(server, expression, prelude=""):
    """The bytes between `{"result":` and `,"stdout":""}` for a main() that returns the expression."""
    answer = server.execute(f"{prelude}\ndef main():\n    return {expression}\n")
    assert answer.status == 200, answer.body[:500]
    start, end = b'{"result":', b',"stdout":""}'
    assert answer.body.startswith(start) and answer.body.endswith(end), answer.body[:500]
    return answer.body[len(start) : -len(end)]


# Python expression → the JSON text of {"v": it}
SCALARS = {
    "2**200": str(2**200),
    "-2**200": str(-(2**200)),
    "2**63": str(2**63),
    "2**64": str(2**64),
    "2**53 + 1": str(2**53 + 1),
    "0": "0",
    "-0": "0",
    "0.1": "0.1",
    "0.1 + 0.2": "0.30000000000000004",
    "1e308": "1e+308",
    "1e16": "1e+16",
    "1e22": "1e+22",
    "5e-324": "5e-324",
    "1.7976931348623157e308": "1.7976931348623157e+308",
    "2.2250738585072014e-308": "2.2250738585072014e-308",
    "-0.0": "-0.0",
    "1.0": "1.0",
    "100000.0": "100000.0",
    "1/3": "0.3333333333333333",
    "True": "true",
    "False": "false",
    "None": "null",
    "''": '""',
    "'a/b'": '"a/b"',
    r"'\"\\'": r'"\"\\"',
    r"'\ud800'": r'"\ud800"',
    r"'\udfff'": r'"\udfff"',
    r"'a\udc00b'": r'"a\udc00b"',
    r"'\ud83d' + '\ude00'": None,  # two lone surrogates side by side: see below
    r"'\x00'": r'"\u0000"',
    r"'\x7f'": '"\x7f"',
    r"'\x80\x9f\xad'": '"\x80\x9f\xad"',
    r"'\u2028\u2029\ufeff\uffff\ufdd0'": '"\u2028\u2029\ufeff\uffff\ufdd0"',
    "'é☃'": '"é☃"',
    r"'\U0001f600\U0010ffff'": '"\U0001f600\U0010ffff"',
    "'👩\u200d👩\u200d👧'": '"👩\u200d👩\u200d👧"',
    "[]": "[]",
    "{}": "{}",
    "()": "[]",
    "(1, (2, 3))": "[1,[2,3]]",
    "[[], {}, [{}]]": "[[],{},[{}]]",
    "[None, True, 1, 1.5, 'x']": '[null,true,1,1.5,"x"]',
}


@pytest.mark.parametrize("expression, text", [item for item in SCALARS.items() if item[1] is not None])
def test_value(server, expression, text):
    assert result_bytes(server, f'{{"v": {expression}}}') == b'{"v":' + text.encode() + b"}"


def test_a_pair_of_lone_surrogates_reads_as_the_character(server):
    """Python keeps U+D83D U+DE00 as two characters; to every reader of JSON their two escapes are one."""
    assert json.loads(result_bytes(server, r"{'v': '\ud83d' + '\ude00'}")) == json.loads(r'{"v":"\ud83d\ude00"}')


def test_all_control_characters(server):
    short = {8: r"\b", 9: r"\t", 10: r"\n", 12: r"\f", 13: r"\r"}
    expected = "".join(short.get(code, f"\\u{code:04x}") for code in range(32))
    assert result_bytes(server, "{'v': ''.join(map(chr, range(32)))}") == b'{"v":"' + expected.encode() + b'"}'


def test_every_plane(server):
    """Each 17th code point of Unicode, surrogates left out."""
    expression = "{'v': ''.join(chr(c) for c in range(0, 0x110000, 17) if not 0xd800 <= c < 0xe000)}"
    expected = "".join(chr(code) for code in range(0, 0x110000, 17) if not 0xD800 <= code < 0xE000)
    assert json.loads(result_bytes(server, expression))["v"] == expected


def test_floats_round_trip(server):
    expression = "{'v': [struct.unpack('<d', struct.pack('<Q', (i * 0x9e3779b97f4a7c15) % 2**64))[0] for i in range(2000)]}"
    prelude = "import struct, math"
    expression = expression.replace("'v': [", "'v': [f for f in (").replace("for i in range(2000)]", "for i in range(2000)) if math.isfinite(f)]")
    text = result_bytes(server, expression, prelude).decode()
    values = json.loads(text)["v"]
    assert len(values) > 1900
    assert text == json.dumps({"v": values}, separators=(",", ":"))


def test_an_integer_past_pythons_own_limit(server):
    assert result_bytes(server, "{'v': 10**5000}") == b'{"v":1' + b"0" * 5000 + b"}"
    assert result_bytes(server, "{'v': -(10**5000)}") == b'{"v":-1' + b"0" * 5000 + b"}"


# Keys become strings as json.dumps makes them.
KEYS = {
    "1": "1",
    "-5": "-5",
    "2**70": str(2**70),
    "True": "true",
    "False": "false",
    "None": "null",
    "1.5": "1.5",
    "1e308": "1e+308",
    "''": "",
    "'é'": "é",
}


@pytest.mark.parametrize("key, text", KEYS.items())
def test_key(server, key, text):
    assert result_bytes(server, f"{{{key}: 0}}") == b'{"' + text.encode() + b'":0}'


def test_a_surrogate_as_key(server):
    assert result_bytes(server, r"{'\ud800': 0}") == rb'{"\ud800":0}'


@pytest.mark.parametrize("key", ("float('nan')", "float('inf')", "b'x'", "(1,)", "object()", "frozenset()"))
def test_a_key_that_json_cannot_have(server, key):
    answer = server.execute(f"def main():\n    return {{'outer': {{{key}: 0}}}}\n")
    assert answer.status == 400
    assert "outer" in answer.error


COLLISIONS = ("{1: 0, '1': 0}", "{True: 0, 'true': 0}", "{None: 0, 'null': 0}", "{1.5: 0, '1.5': 0}", "{2**70: 0, str(2**70): 0}")


@pytest.mark.parametrize("value", COLLISIONS)
def test_keys_that_collide_once_they_are_strings(server, value):
    for expression, place in ((value, ""), (f"{{'outer': [{value}]}}", "outer")):
        record = server.run(f"def main():\n    return {expression}\n")
        assert record["status"] == "contract_error", record
        assert "key" in record["error"]["message"]
        assert place in record["error"]["message"]


TYPES = {
    "OrderedDict": ("import collections", "collections.OrderedDict([('z', 1), ('a', 2)])", '{"z":1,"a":2}'),
    "defaultdict": ("import collections", "collections.defaultdict(list, {'k': [1]})", '{"k":[1]}'),
    "Counter": ("import collections", "collections.Counter('aab')", '{"a":2,"b":1}'),
    "namedtuple": ("import collections\nP = collections.namedtuple('P', 'x y')", "{'p': P(1, 2)}", '{"p":[1,2]}'),
    "IntEnum": ("import enum\nclass E(enum.IntEnum):\n    A = 3", "{'e': E.A, E.A: 1}", '{"e":3,"3":1}'),
    "IntFlag": ("import enum\nclass E(enum.IntFlag):\n    A = 4", "{'e': E.A}", '{"e":4}'),
    "str Enum": ("import enum\nclass E(str, enum.Enum):\n    A = 'a'", "{'e': E.A}", '{"e":"a"}'),
    "int subclass": ("class I(int):\n    __repr__ = __str__ = lambda s: 'evil'", "{'i': I(5)}", '{"i":5}'),
    "float subclass": ("class F(float):\n    __repr__ = __str__ = lambda s: 'evil'", "{'f': F(1.5)}", '{"f":1.5}'),
    "str subclass": ("class S(str):\n    __repr__ = __str__ = lambda s: 'evil'", "{'s': S('x')}", '{"s":"x"}'),
    "list subclass": ("class L(list):\n    pass", "{'l': L([1])}", '{"l":[1]}'),
    "key order": ("", "{c: i for i, c in enumerate('qwertyuiop')}", '{"q":0,"w":1,"e":2,"r":3,"t":4,"y":5,"u":6,"i":7,"o":8,"p":9}'),
    "shared, not cyclic": ("a = [1]", "{'x': a, 'y': a, 'z': [a, a]}", '{"x":[1],"y":[1],"z":[[1],[1]]}'),
}


@pytest.mark.parametrize("prelude, expression, text", TYPES.values(), ids=TYPES)
def test_type(server, prelude, expression, text):
    assert result_bytes(server, expression, prelude) == text.encode()


NEST = "def nest(n):\n    v = 0\n    for _ in range(n):\n        v = [v]\n    return v"


def test_700_nested_lists(server):
    assert result_bytes(server, "{'v': nest(700)}", NEST) == b'{"v":' + b"[" * 700 + b"0" + b"]" * 700 + b"}"


@pytest.mark.parametrize("depth", (1000, 10_000, 200_000))
def test_too_many_nested_lists_are_refused(server, depth):
    record = server.run(f"{NEST}\ndef main():\n    return {{'v': nest({depth})}}\n")
    assert record["status"] == "contract_error", record
    assert record["result"] is None
    assert "nest" in record["error"]["message"].lower() or "deep" in record["error"]["message"].lower()
    server.assert_serves()


def test_5_mb(server):
    body = result_bytes(server, "{'v': 'x' * 5_000_000}")
    assert body == b'{"v":"' + b"x" * 5_000_000 + b'"}'


def test_just_under_the_result_limit(server):
    length = 8 * MIB - len('{"v":""}')
    assert len(result_bytes(server, f"{{'v': 'x' * {length}}}")) == 8 * MIB


@pytest.mark.parametrize("expression", ("{'v': 'x' * 9_000_000}", "{'v': ['abc'] * 2_000_000}", "{'v': '\\x00' * 2_000_000}"))
def test_a_result_past_the_limit(server, expression):
    record = server.run(f"def main():\n    return {expression}\n")
    assert (record["status"], record["error"]["message"]) == ("output_limit", "result limit exceeded: 8 MiB")
    assert record["result"] is None
    answer = server.execute(f"def main():\n    return {expression}\n")
    assert answer.status == 400
    assert "8 MiB" in answer.error


def test_many_small_values(server):
    assert json.loads(result_bytes(server, "{str(i): i for i in range(200_000)}")) == {str(i): i for i in range(200_000)}


ENDLESS = {
    "endless items()": "class D(dict):\n    def items(self):\n        while True:\n            yield 'k', 1\n    def __iter__(self):\n        while True:\n            yield 'k'\ndef main():\n    return D(a=1)\n",
    "endless list": "class L(list):\n    def __iter__(self):\n        while True:\n            yield 1\ndef main():\n    return {'l': L([1])}\n",
    "growing list": "class L(list):\n    def __len__(self):\n        return 2**62\ndef main():\n    return {'l': L([1])}\n",
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS)
def test_endless_containers_end(server, script):
    """Either the container's true content is read, or a limit ends it."""
    answer = server.execute(script, limits={"wall_ms": 3000})
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json["result"] in ({"a": 1}, {"l": [1]})
    server.assert_serves()


# Output is text whatever its bytes were.
OUTPUT = {
    "not UTF-8": (r"b'a\xffb'", "a\ufffdb"),
    "latin-1": (r"b'caf\xe9'", "caf\ufffd"),
    "only broken": (r"b'\xff\xfe\xff'", "\ufffd\ufffd\ufffd"),
    "NUL and controls": (r"b'a\x00\x01\x1b[0mb'", "a\x00\x01\x1b[0mb"),
    "quotes": (r"b'\"\\'", '"\\'),
    "UTF-8": ("'é☃😀'.encode()", "é☃😀"),
    "BOM": (r"b'\xef\xbb\xbfx'", "\ufeffx"),
}


@pytest.mark.parametrize("data, text", OUTPUT.values(), ids=OUTPUT)
def test_stdout(server, data, text):
    script = f"import sys\ndef main():\n    sys.stdout.buffer.write({data})\n    sys.stderr.buffer.write({data})\n    return {{}}\n"
    answer = server.execute(script)
    assert answer.json == {"result": {}, "stdout": text}
    record = server.run(script)
    assert (record["stdout"], record["stderr"]) == (text, text)


@pytest.mark.parametrize("data", (r"b'\xed\xa0\x80'", r"b'\xc0\x80'", r"b'\xf5\x80\x80\x80'", r"b'\xf0\x9f\x98'"), ids=ascii)
def test_overlong_surrogate_and_cut_sequences_become_replacements(server, data):
    answer = server.execute(f"import sys\ndef main():\n    sys.stdout.buffer.write(b'<' + {data} + b'>')\n    return {{}}\n")
    text = answer.body.decode("utf-8", "strict")
    stdout = json.loads(text)["stdout"]
    assert stdout[0] == "<" and stdout[-1] == ">" and set(stdout[1:-1]) == {"\ufffd"}
