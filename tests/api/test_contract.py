"""CONTRACT.md section 1: the small face, byte for byte, and its list of errors."""
import re

import pytest

from harness import HELLO, MIB

KINDS = ("json", "python")

ROWS = {
    "prints and returns": (
        'def main():\n    print("hello world")\n    return {"message": "done"}\n',
        200,
        b'{"result":{"message":"done"},"stdout":"hello world"}',
    ),
    "prints nothing": (HELLO, 200, b'{"result":{"message":"hello"},"stdout":""}'),
    "empty object": ("def main():\n    return {}\n", 200, b'{"result":{},"stdout":""}'),
    "returns None": ("def main():\n    return None\n", 400, b'{"error":"main() did not return a value"}'),
    "falls off its end": ("def main():\n    print(1)\n", 400, b'{"error":"main() did not return a value"}'),
    "async None": ("async def main():\n    pass\n", 400, b'{"error":"main() did not return a value"}'),
    "no main": ("x = 1\n", 400, b'{"error":"Script must define a function named main()"}'),
    "empty": ("", 400, b'{"error":"Script must define a function named main()"}'),
    "no main, prints": ('print("hello")\n', 400, b'{"error":"Script must define a function named main()"}'),
    "no main, does not compile": ("x = = 1\n", 400, b'{"error":"Script must define a function named main()"}'),
    "main is no function": ("main = 5\n", 400, b'{"error":"Script must define a function named main()"}'),
    "main deleted": ("def main():\n    return {}\ndel main\n", 400, b'{"error":"Script must define a function named main()"}'),
    **{
        f"returns {value}": (
            f"def main():\n    return {value}\n",
            400,
            b'{"error":"main() must return a JSON object (e.g., a Python dict)"}',
        )
        for value in ("'text'", "''", "1", "0", "1.5", "True", "False", "[]", "[{}]", "()", "{1, 2}", "b'x'", "object()",
                      "lambda: {}", "(x for x in ())", "main", "dict", "iter({})")
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script, status, body", ROWS.values(), ids=ROWS)
def test_row(server, kind, script, status, body):
    if kind == "python" and not script:
        pytest.skip("an empty body is a malformed request: test_bad_input.py")
    answer = server.execute_as(kind, script)
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(body)


def test_key_order_and_no_white_space(server):
    answer = server.execute('def main():\n    print("p")\n    return {"z": [1, 2, {"y": None}], "a": "b c"}\n')
    assert answer.body == b'{"result":{"z":[1,2,{"y":null}],"a":"b c"},"stdout":"p"}'


# Failures of the script: status 400 and one line that a person can act on.
ERRORS = {
    "syntax": ("def main():\n    return {}\nx = = 1\n", r"SyntaxError: invalid syntax \(script\.py, line 3\)"),
    "indentation": ("def main():\n    return {}\n  x = 1\n", r"(SyntaxError|IndentationError): .+ \(script\.py, line 3\)"),
    "nested brackets": ("def main():\n    return " + "(" * 10000, r"(SyntaxError|MemoryError|memory limit).*"),
    "raises": ("def main():\n    return 1 / 0\n", r"ZeroDivisionError: division by zero \(script\.py, line 2\)"),
    "raises at the top": ("\n\n1 / 0\ndef main():\n    return {}\n", r"ZeroDivisionError: division by zero \(script\.py, line 3\)"),
    "raises deeper": (
        "def inner():\n    return [][1]\ndef main():\n    return inner()\n",
        r"IndexError: list index out of range \(script\.py, line 2\)",
    ),
    "raises in the library": (
        "import json\ndef main():\n    text = '{'\n    return json.loads(text)\n",
        r"(json\.decoder\.)?JSONDecodeError: Expecting property name .* \(script\.py, line 4\)",
    ),
    "raises async": ("async def main():\n    raise KeyError('x')\n", r"KeyError: 'x' \(script\.py, line 2\)"),
    "raises without text": ("def main():\n    raise ValueError\n", r"ValueError:? ?\(script\.py, line 2\)"),
    "raises several lines": ("def main():\n    raise ValueError('a\\nb')\n", r"ValueError: a b \(script\.py, line 2\)"),
    "raises its own": ("class Odd(Exception):\n    pass\ndef main():\n    raise Odd('é ☃')\n", r"(script\.)?Odd: é ☃ \(script\.py, line 4\)"),
    "raises surrogates": ("def main():\n    raise ValueError('\\ud800')\n", r"ValueError: .+ \(script\.py, line 2\)"),
    "raises a huge text": ("def main():\n    raise ValueError('x' * 10000000)\n", r"ValueError: x{100,4500}.*"),
    "BaseException": ("def main():\n    raise BaseException('b')\n", r"BaseException: b \(script\.py, line 2\)"),
    "KeyboardInterrupt": ("def main():\n    raise KeyboardInterrupt\n", r"KeyboardInterrupt.*"),
    "recursion": ("def main():\n    return main()\n", r"RecursionError: maximum recursion depth exceeded.*"),
    "no such module": ("import no_such_module\ndef main():\n    return {}\n", r"ModuleNotFoundError: No module named 'no_such_module' \(script\.py, line 1\)"),
    "set": ("def main():\n    return {'a': {1, 2}}\n", r".*\bset\b.*"),
    "set says where": ("def main():\n    return {'rows': [1, {'cell': {1}}]}\n", r"(?=.*\bset\b).*rows.*1.*cell.*"),
    "bytes": ("def main():\n    return {'a': b'x'}\n", r"(?=.*\bbytes\b).*a.*"),
    "object": ("class Thing: pass\ndef main():\n    return {'deep': [Thing()]}\n", r"(?=.*Thing).*deep.*0.*"),
    "NaN": ("def main():\n    return {'value': float('nan')}\n", r"(?i)(?=.*nan).*value.*"),
    "Infinity": ("def main():\n    return {'value': float('inf')}\n", r"(?i)(?=.*inf).*value.*"),
    "-Infinity": ("def main():\n    return {'value': [-float('inf')]}\n", r"(?i)(?=.*inf).*value.*0.*"),
    "cycle": ("def main():\n    a = {}\n    a['me'] = [a]\n    return a\n", r"(?i)(?=.*(circular|cycl|itself|nest)).*"),
    "colliding keys": ("def main():\n    return {'in': {1: 'a', '1': 'b'}}\n", r"(?i)(?=.*\bkeys?\b)(?=.*1).*in.*"),
    "colliding keys True": ("def main():\n    return {True: 'a', 'true': 'b'}\n", r"(?i)(?=.*\bkeys?\b).*true.*"),
    "tuple as key": ("def main():\n    return {(1, 2): 3}\n", r"(?i)(?=.*\bkeys?\b).*tuple.*"),
    "SIGSEGV": ("import ctypes\ndef main():\n    ctypes.string_at(0)\n", r"script was killed by signal SIGSEGV"),
    "SIGABRT": ("import os\ndef main():\n    os.abort()\n", r"script was killed by signal SIGABRT"),
    "SIGALRM": ("import signal, time\ndef main():\n    signal.alarm(1)\n    time.sleep(8)\n", r"script was killed by signal SIGALRM"),
    "SIGKILL": ("import os\ndef main():\n    os.kill(os.getpid(), 9)\n    return {}\n", r"script was killed by signal SIGKILL"),
    "SIGTERM": ("import os\ndef main():\n    os.kill(os.getpid(), 15)\n    return {}\n", r"script was killed by signal SIGTERM"),
    "os._exit(3)": ("import os\ndef main():\n    os._exit(3)\n", r"script exited with status 3 before main\(\) returned"),
    "os._exit(0)": ("import os\ndef main():\n    os._exit(0)\n", r"script exited with status 0 before main\(\) returned"),
    "os._exit at the top": ("import os\nos._exit(4)\ndef main():\n    return {}\n", r"script exited with status 4 before main\(\) returned"),
    "sys.exit(3)": ("import sys\ndef main():\n    sys.exit(3)\n", r"script exited with status 3 before main\(\) returned|SystemExit: 3 .*"),
    "sys.exit()": ("import sys\ndef main():\n    sys.exit()\n", r"script exited with status 0 before main\(\) returned|SystemExit.*"),
    "sys.exit(text)": ("import sys\ndef main():\n    sys.exit('bye')\n", r"script exited with status 1 before main\(\) returned|SystemExit: bye .*"),
    "exit at the top": ("exit(0)\ndef main():\n    return {}\n", r"script exited .*|SystemExit.*|NameError.*"),
    "MemoryError": ("def main():\n    raise MemoryError\n", r"memory limit exceeded: 256 MiB"),
    "memory": ("def main():\n    return {'n': len(b'x' * (1 << 30))}\n", r"memory limit exceeded: 256 MiB"),
    "huge allocation": ("def main():\n    return {'n': len(bytearray(1 << 50))}\n", r"memory limit exceeded: 256 MiB"),
}


@pytest.mark.parametrize("script, pattern", ERRORS.values(), ids=ERRORS)
def test_error(server, script, pattern):
    answer = server.execute(script)
    assert answer.status == 400, answer.body
    assert re.fullmatch(pattern, answer.error), answer.error


@pytest.mark.parametrize("name", ("syntax", "raises deeper", "SIGSEGV", "os._exit(3)", "set"))
def test_error_of_a_python_body(server, name):
    script, pattern = ERRORS[name]
    answer = server.execute_python(script)
    assert answer.status == 400, answer.body
    assert re.fullmatch(pattern, answer.error), answer.error


# A limit that was hit is named with its value.
LIMITS = {
    "wall": ({"wall_ms": 1000}, "import time\ndef main():\n    time.sleep(50)\n", r"time limit exceeded: 1 s"),
    "wall in fractions": ({"wall_ms": 1500}, "import time\ndef main():\n    time.sleep(50)\n", r"time limit exceeded: 1\.5 s"),
    "cpu": ({"cpu_ms": 1000}, "def main():\n    while True:\n        pass\n", r"(?i)CPU.* limit exceeded: 1 s"),
    "memory": ({"memory_bytes": 128 * MIB}, "def main():\n    return {'n': len(b'x' * (1 << 29))}\n", r"memory limit exceeded: 128 MiB"),
    "processes": (
        {"processes": 8},
        "import threading, time\ndef main():\n    for _ in range(40):\n        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n    time.sleep(30)\n    return {}\n",
        r"process limit exceeded: 8",
    ),
    "output": ({"output_bytes": 65536}, "def main():\n    while True:\n        print('x' * 1000)\n", r"output limit exceeded: 64 KiB"),
    "disk": (
        {"disk_bytes": 8 * MIB},
        "def main():\n    with open('big', 'wb') as file:\n        for _ in range(64):\n            file.write(bytes(1 << 20))\n    return {}\n",
        r"disk limit exceeded: 8 MiB",
    ),
}


@pytest.mark.parametrize("limits, script, pattern", LIMITS.values(), ids=LIMITS)
def test_limit_is_named(server, limits, script, pattern):
    answer = server.execute(script, limits=limits)
    assert answer.status == 400, answer.body
    assert re.fullmatch(pattern, answer.error), answer.error


def test_default_wall_limit_is_named(server):
    answer = server.execute("import time\ndef main():\n    time.sleep(100)\n")
    assert (answer.status, answer.error) == (400, "time limit exceeded: 10 s")


# Output.

NEWLINES = {
    "one": ("a\n", "a"),
    "several": ("a\n\n\n", "a"),
    "only newlines": ("\n\n", ""),
    "inner": ("a\n\nb\n", "a\n\nb"),
    "leading": ("\n a \n", "\n a "),
    "spaces stay": ("a \t\n", "a \t"),
    "CR stays": ("a\r\n", "a\r"),
    "none": ("a", "a"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("printed, shown", NEWLINES.values(), ids=NEWLINES)
def test_trailing_newlines(server, printed, shown):
    script = f"import sys\ndef main():\n    sys.stdout.write({printed!r})\n    return {{}}\n"
    assert server.execute(script).json == {"result": {}, "stdout": shown}
    assert server.run(script)["stdout"] == printed


def test_output_is_cut_at_the_limit(server):
    answer = server.execute("def main():\n    print('x' * 3000)\n    return {'n': 1}\n", limits={"output_bytes": 1024})
    assert answer.status == 200, answer.body
    assert answer.body == b'{"result":{"n":1},"stdout":"' + b"x" * 1024 + b'","stdout_truncated":true}'


def test_output_of_exactly_the_limit_is_whole(server):
    answer = server.execute(
        "import sys\ndef main():\n    sys.stdout.write('x' * 1024)\n    return {}\n", limits={"output_bytes": 1024}
    )
    assert answer.body == b'{"result":{},"stdout":"' + b"x" * 1024 + b'"}'


def test_output_cut_inside_a_character_is_still_utf8(server):
    answer = server.execute(
        "import sys\ndef main():\n    sys.stdout.write('x' * 1023 + 'é' * 100)\n    return {}\n", limits={"output_bytes": 1024}
    )
    assert answer.status == 200
    assert re.fullmatch("x{1023}\ufffd?", answer.json["stdout"])
    assert answer.json["stdout_truncated"] is True


def test_default_output_limit_truncates(server):
    answer = server.execute("def main():\n    print('x' * (2 << 20))\n    return {}\n")
    assert answer.status == 200, answer.body[:200]
    assert answer.json == {"result": {}, "stdout": "x" * MIB, "stdout_truncated": True}


def test_stderr_does_not_show_on_the_small_face(server):
    answer = server.execute("import sys\ndef main():\n    print('secret', file=sys.stderr)\n    return {}\n")
    assert answer.body == b'{"result":{},"stdout":""}'


# How a script is run.

RUNS = {
    "async main": ("import asyncio\nasync def main():\n    await asyncio.sleep(0.01)\n    return {'a': 1}\n", {"a": 1}),
    "main calls asyncio.run": ("import asyncio\nasync def f():\n    return 1\ndef main():\n    return {'a': asyncio.run(f())}\n", {"a": 1}),
    "module name": ("def main():\n    return {'n': __name__}\n", {"n": "script"}),
    "__main__ guard": ("ran = []\nif __name__ == '__main__':\n    ran.append(1)\ndef main():\n    return {'ran': ran}\n", {"ran": []}),
    "top level first": ("order = ['top']\ndef main():\n    return {'o': order}\norder.append('end')\n", {"o": ["top", "end"]}),
    "main once": ("n = 0\ndef main():\n    global n\n    n += 1\n    return {'n': n}\n", {"n": 1}),
    "main replaced": ("def main():\n    return {'n': 1}\ndef main():\n    return {'n': 2}\n", {"n": 2}),
    "globals": ("x = 1\ndef main():\n    return {'x': globals()['x']}\n", {"x": 1}),
    "dataclass": ("import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\ndef main():\n    return dataclasses.asdict(P(3))\n", {"x": 3}),
    "pickle": ("import pickle\nclass P:\n    x = 4\ndef main():\n    return {'x': pickle.loads(pickle.dumps(P())).x}\n", {"x": 4}),
    "inspect": ("import inspect\ndef main():\n    return {'n': len(inspect.signature(main).parameters)}\n", {"n": 0}),
    "CRLF source": ("def main():\r\n    return {'x': 1}\r\n", {"x": 1}),
    "no final newline": ("def main(): return {'x': 1}", {"x": 1}),
    "coding cookie": ("# -*- coding: latin-1 -*-\ndef main(): return {'s': 'é☃'}\n", {"s": "é☃"}),
    "future import": ("from __future__ import annotations\ndef main() -> Missing:\n    return {}\n", {}),
    "threads": ("import threading\ndef main():\n    o = []\n    t = threading.Thread(target=o.append, args=(1,))\n    t.start()\n    t.join()\n    return {'o': o}\n", {"o": [1]}),
    "stdin empty": ("import sys\ndef main():\n    return {'s': sys.stdin.read()}\n", {"s": ""}),
    "writes files": ("import tempfile, pathlib\ndef main():\n    pathlib.Path('a').write_text('1')\n    with tempfile.NamedTemporaryFile() as t:\n        t.write(b'2')\n    return {'a': open('a').read()}\n", {"a": "1"}),
}


@pytest.mark.parametrize("script, result", RUNS.values(), ids=RUNS)
def test_runs(server, script, result):
    answer = server.execute(script)
    assert (answer.status, answer.json) == (200, {"result": result, "stdout": ""}), answer.body


def test_main_quiet_guard_prints_nothing(server):
    answer = server.execute('def main():\n    return {}\nif __name__ == "__main__":\n    print(main())\n')
    assert answer.body == b'{"result":{},"stdout":""}'


def test_script_with_nul_or_surrogates_is_an_error(server):
    for source in ("def main():\n    return {'x': '\0'}\n", "def main():\n    return {'x': '\ud800'}\n"):
        answer = server.execute(source)
        assert answer.status in (200, 400)
        if answer.status == 400:
            assert answer.error
        server.assert_serves()


@pytest.mark.parametrize("path", ("/healthz", "/readyz"))
def test_health(server, path):
    assert server.request("GET", path).status == 200
