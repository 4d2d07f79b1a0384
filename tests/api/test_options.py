"""CONTRACT.md section 3: the run options on both faces, and what is said about wrong ones."""
import json

import pytest

from harness import HELLO, KIB, MIB, base64_of

FACES = ("/execute", "/v1/runs")


def result_of(server, face, script, **options):
    if face == "/execute":
        return server.result(script, **options)
    record = server.run(script, **options)
    assert record["status"] == "ok", record["error"]
    return record["result"]


def refusal(server, face, body):
    """The text of a 400 for a body: the error line of the small face, the problem's detail on the whole one."""
    answer = server.post(face, body if isinstance(body, (str, bytes)) else json.dumps(body))
    assert answer.status == 400, (answer.status, answer.body)
    if face == "/execute":
        return answer.error
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem["status"] == 400
    assert problem["title"]
    return problem["detail"]


INPUTS = (5, 0, -1, 1.5, True, None, "text", "", "é\U0001f600\u0000", [1, [2]], {"a": {"b": []}}, {}, 2**200, 1e308)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("value", INPUTS, ids=repr)
def test_input(server, face, value):
    assert result_of(server, face, "def main(given):\n    return {'got': given}\n", input=value) == {"got": value}


@pytest.mark.parametrize("face", FACES)
def test_input_types_survive(server, face):
    script = "def main(given):\n    return {'types': [type(x).__name__ for x in given]}\n"
    types = result_of(server, face, script, input=[1, 1.0, "1", True, None, [], {}])["types"]
    assert types == ["int", "float", "str", "bool", "NoneType", "list", "dict"]


INPUT_SHAPES = {
    "no parameter": ("def main():\n    return {'ok': 1}\n", {"ok": 1}),
    "a default": ("def main(given=None):\n    return {'ok': given}\n", {"ok": 7}),
    "async": ("async def main(given):\n    return {'ok': given}\n", {"ok": 7}),
}


@pytest.mark.parametrize("script, result", INPUT_SHAPES.values(), ids=INPUT_SHAPES)
def test_input_is_passed_when_main_takes_it(server, script, result):
    assert server.result(script, input=7) == result


def test_a_default_holds_without_input(server):
    assert server.result("def main(given='mine'):\n    return {'g': given}\n")["g"] in ("mine", None)


@pytest.mark.parametrize("literal", ("1e400", "-0.0", "123456789012345678901234567890", "0.1", "1E5", "\"\\ud800\""))
def test_input_as_written(server, literal):
    """The input reaches main() as Python's own json would read it."""
    body = '{"script": "def main(x):\\n    return {\'r\': ascii(x)}\\n", "input": %s}' % literal
    answer = server.post("/execute", body)
    assert answer.status == 200, answer.body
    assert answer.json["result"]["r"] == ascii(json.loads(literal))


@pytest.mark.parametrize("face", FACES)
def test_stdin(server, face):
    script = "import sys\ndef main():\n    first = input()\n    return {'first': first, 'rest': sys.stdin.read()}\n"
    assert result_of(server, face, script, stdin="one\ntwo ☃\n") == {"first": "one", "rest": "two ☃\n"}


def test_large_stdin(server):
    script = "import sys\ndef main():\n    return {'n': len(sys.stdin.read())}\n"
    assert server.result(script, stdin="x" * (4 * MIB)) == {"n": 4 * MIB}


@pytest.mark.parametrize("face", FACES)
def test_files(server, face):
    files = {"a.txt": "text ☃", "sub/dir/b.bin": {"base64": base64_of(b"\0\xff")}, "empty": ""}
    script = """
        import os
        def main():
            return {
                "a": open("a.txt", encoding="utf-8").read(),
                "b": list(open("sub/dir/b.bin", "rb").read()),
                "empty": os.path.getsize("empty"),
                "listed": sorted(os.listdir(".")),
            }
    """
    expected = {"a": "text ☃", "b": [0, 255], "empty": 0, "listed": ["a.txt", "empty", "sub"]}
    assert result_of(server, face, script, files=files) == expected


def test_files_may_be_changed_by_the_script(server):
    script = "def main():\n    open('a', 'a').write('2')\n    return {'a': open('a').read()}\n"
    assert server.result(script, files={"a": "1"}) == {"a": "12"}


def test_a_large_file(server):
    script = "def main():\n    return {'n': len(open('big').read())}\n"
    assert server.result(script, files={"big": "x" * (5 * MIB)}) == {"n": 5 * MIB}


CLIMBING = ("../x", "/etc/x", "a/../../b", "..", ".", "", "a/./b", "a//b", "a/", "x\u0000y", "./a", "\ud800")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("path", CLIMBING, ids=lambda path: ascii(path)[:20])
def test_climbing_file_paths_are_refused(server, face, path):
    assert "files" in refusal(server, face, {"script": HELLO, "files": {path: "x"}})


def test_files_that_contradict_each_other_are_an_error(server):
    answer = server.execute(HELLO, files={"a": "x", "a/b": "y"})
    assert answer.status == 400
    assert "a" in answer.error
    server.assert_serves()


def test_return_files_is_accepted_on_the_small_face(server):
    answer = server.execute("def main():\n    open('a', 'w').write('1')\n    return {}\n", return_files=["*"])
    assert answer.body == b'{"result":{},"stdout":""}'


@pytest.mark.parametrize("face", FACES)
def test_limits_may_be_lowered(server, face):
    limits = {"wall_ms": 5000, "cpu_ms": 5000, "memory_bytes": 128 * MIB, "processes": 16, "output_bytes": 64 * KIB,
              "disk_bytes": 16 * MIB}
    assert result_of(server, face, HELLO, limits=limits) == {"message": "hello"}


def test_the_servers_own_limits_may_be_repeated(server):
    limits = {"wall_ms": 10000, "cpu_ms": 10000, "memory_bytes": 256 * MIB, "processes": 64, "output_bytes": MIB,
              "disk_bytes": 64 * MIB}
    assert server.result(HELLO, limits=limits) == {"message": "hello"}


SERVER_LIMITS = {"wall_ms": 10000, "cpu_ms": 10000, "memory_bytes": 256 * MIB, "processes": 64, "output_bytes": MIB,
                 "disk_bytes": 64 * MIB}
OUT_OF_RANGE = ("0", "-1", "-0", "1e309", "1e3", "1.5", '"10"', "null", "true", "[1000]", "{}", "18446744073709551616",
                "18446744073709552616", "99999999999999999999999999999999", "above")


@pytest.mark.parametrize("name", SERVER_LIMITS)
@pytest.mark.parametrize("literal", OUT_OF_RANGE)
def test_limits_out_of_range(server, name, literal):
    value = str(SERVER_LIMITS[name] + 1) if literal == "above" else literal
    body = '{"script": "def main(): return {}", "limits": {"%s": %s}}' % (name, value)
    assert name in refusal(server, "/execute", body)
    assert name in refusal(server, "/v1/runs", body)


@pytest.mark.parametrize("name", ("inodes", "open_files", "request_bytes", "result_bytes", "wall", "", "WALL_MS"))
def test_limits_that_a_request_cannot_set(server, name):
    text = refusal(server, "/execute", {"script": HELLO, "limits": {name: 10}})
    assert "limits" in text or name in text


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("field", ("colour", "Script", "scripts", "timeout", "", "é", "x" * 1000, "script\u0000"), ids=ascii)
def test_an_unknown_field_is_named(server, face, field):
    text = refusal(server, face, {"script": HELLO, field: 1})
    if field.isalpha() and len(field) < 100:
        assert field in text


WRONG = {
    "script": (5, None, True, [], {}, ["def main(): return {}"]),
    "stdin": (5, None, [], {}, True),
    "files": (5, "x", [], None, {"a": 5}, {"a": None}, {"a": []}, {"a": {}}, {"a": {"base64": 5}}, {"a": {"base64": "%%%"}},
              {"a": {"base64": "AA"}}, {"a": {"base64": "AA==\n"}}, {"a": {"base64": "AA==", "mode": 1}}, {"a": {"text": "x"}}),
    "return_files": (5, "*", {}, None, [5], [None], [["*"]]),
    "limits": (5, "x", [], None),
    "environment": (5, None, [], {}, "no-such-environment"),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "field, value", [(field, value) for field, values in WRONG.items() for value in values], ids=lambda part: ascii(part)[:40]
)
def test_a_wrong_type_names_its_field(server, face, field, value):
    assert field in refusal(server, face, {"script": HELLO, field: value})


@pytest.mark.parametrize("face", FACES)
def test_a_missing_script_is_named(server, face):
    assert "script" in refusal(server, face, {})
    assert "script" in refusal(server, face, {"stdin": "x"})


@pytest.mark.parametrize("pattern", ("../*", "/etc/*", "../../../etc/passwd", "a/../../*", ""))
def test_climbing_return_patterns_give_nothing(server, pattern):
    answer = server.post_run(HELLO, return_files=[pattern])
    assert answer.status in (200, 400), answer.body
    if answer.status == 200:
        assert answer.json["files"] == []


def test_errors_do_not_run_the_script(server):
    """A refused request takes no time of the jail's: even an endless script is answered."""
    text = refusal(server, "/execute", {"script": "while True: pass", "colour": 1})
    assert "colour" in text
