"""Whole scripts as people and language models write them: what stands at their top level, how main looks, what they look at of
themselves. What libraries do in the jail is in test_ordinary.py."""
import textwrap

import harness
import pytest

# name → (script, options of the run, result, stdout)
IDIOMS = {
    "classes, dataclasses and pickle of the script's own": (
        """
        from __future__ import annotations
        import copy, dataclasses, enum, pickle, typing

        @dataclasses.dataclass(frozen=True, order=True)
        class Point:
            x: int
            y: int = 0
            tags: tuple[str, ...] = dataclasses.field(default=(), compare=False)

        class Color(enum.Enum):
            RED = "red"

        class Pair(typing.NamedTuple):
            a: int
            b: str

        class Node(typing.Generic[typing.TypeVar("T")]):
            def __init__(self, value): self.value = value

        def double(x): return 2 * x

        def main():
            things = [Point(1, 2, ("a",)), Color.RED, Pair(1, "b"), double]
            again = pickle.loads(pickle.dumps(things))
            node = pickle.loads(pickle.dumps(Node([1])))
            return {"same": again == things, "node": node.value, "deep": copy.deepcopy(things)[0] == things[0], "repr": repr(again[0]),
                    "module": Point.__module__, "hints": sorted(typing.get_type_hints(Point)), "replaced": dataclasses.replace(again[0], y=5).y}
        """,
        {},
        {"same": True, "node": [1], "deep": True, "repr": "Point(x=1, y=2, tags=('a',))", "module": "script", "hints": ["tags", "x", "y"], "replaced": 5},
        "",
    ),
    "its own source": (
        """
        import inspect, linecache, traceback

        def helper(a):
            # a comment
            return a / 0

        def main():
            try:
                helper(1)
            except ZeroDivisionError:
                text = traceback.format_exc()
            import __main__, script, sys
            return {"source": inspect.getsource(helper).splitlines()[1].strip(), "line": inspect.getsourcelines(helper)[1], "shown": "return a / 0" in text,
                    "file": [__file__, inspect.currentframe().f_code.co_filename], "name": __name__, "doc": main.__doc__, "cached": linecache.getline(__file__, 3).strip(),
                    "main": __main__.__name__, "itself": script.helper is helper, "globals": "helper" in vars(sys.modules[__name__])}
        """,
        {},
        {"source": "# a comment", "line": 3, "shown": True, "file": ["script.py", "script.py"], "name": "script", "doc": None, "cached": "def helper(a):",
         "main": "__main__", "itself": True, "globals": True},
        "",
    ),
    "a guard at the end": (
        """
        import sys, json

        def main():
            print("in main")
            return {"argv": sys.argv, "ran": 1}

        if __name__ == "__main__":
            sys.exit(json.dumps(main()))
        """,
        {},
        {"argv": ["script.py"], "ran": 1},
        "in main\n",
    ),
    "argparse and no arguments": (
        """
        import argparse

        def main():
            parser = argparse.ArgumentParser(description="x")
            parser.add_argument("--count", type=int, default=3)
            parser.add_argument("names", nargs="*")
            arguments = parser.parse_args()
            return {**vars(arguments), "prog": parser.prog}
        """,
        {},
        {"count": 3, "names": [], "prog": "script.py"},
        "",
    ),
    "async main with everything": (
        """
        import asyncio

        async def produce(queue, n):
            for i in range(n):
                await queue.put(i)
                await asyncio.sleep(0)
            await queue.put(None)

        async def numbers(n):
            for i in range(n):
                yield i

        async def main(input=None):
            queue = asyncio.Queue(2)
            task = asyncio.create_task(produce(queue, 5))
            got = []
            while (item := await queue.get()) is not None:
                got.append(item)
            await task
            cancelled = asyncio.create_task(asyncio.sleep(600))
            await asyncio.sleep(0)
            cancelled.cancel()
            results = await asyncio.gather(cancelled, asyncio.to_thread(sum, got), return_exceptions=True)
            semaphore, event, condition = asyncio.Semaphore(2), asyncio.Event(), asyncio.Condition()
            async with semaphore, condition:
                asyncio.get_running_loop().call_later(0.01, event.set)
                await event.wait()
            return {"got": got, "cancelled": type(results[0]).__name__, "sum": results[1], "async for": [i async for i in numbers(3)]}
        """,
        {},
        {"got": [0, 1, 2, 3, 4], "cancelled": "CancelledError", "sum": 10, "async for": [0, 1, 2]},
        "",
    ),
    "asyncio.run within main": (
        """
        import asyncio

        async def work():
            await asyncio.sleep(0.001)
            return {"v": 1}

        def main():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            first = loop.run_until_complete(work())
            loop.close()
            return {"first": first, "second": asyncio.run(work())}
        """,
        {},
        {"first": {"v": 1}, "second": {"v": 1}},
        "",
    ),
    "a callable object as main": (
        """
        class Application:
            def __init__(self, greeting):
                self.greeting = greeting

            def __call__(self, input):
                return {"text": f"{self.greeting} {input['name']}"}

        main = Application("hello")
        """,
        {"input": {"name": "Zoë"}},
        {"text": "hello Zoë"},
        "",
    ),
    "a decorated main": (
        """
        import functools, time

        def timed(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                start = time.perf_counter()
                try:
                    return {"value": function(*args, **kwargs), "timed": time.perf_counter() >= start}
                finally:
                    print("done", function.__name__)
            return wrapper

        def retry(times):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(*args, **kwargs):
                    for attempt in range(times):
                        try:
                            return function(*args, **kwargs)
                        except ValueError:
                            continue
                return wrapper
            return decorate

        attempts = []

        @timed
        @retry(times=3)
        def main(input):
            attempts.append(input)
            if len(attempts) < 3:
                raise ValueError
            return attempts
        """,
        {"input": 7},
        {"value": [7, 7, 7], "timed": True},
        "done main\n",
    ),
    "main with defaults and keywords": (
        """
        def main(data=None, *rest, verbose=False, **options):
            return {"data": data, "rest": rest, "verbose": verbose, "options": options}
        """,
        {"input": [1, 2]},
        {"data": [1, 2], "rest": [], "verbose": False, "options": {}},
        "",
    ),
    "main with defaults and no input": (
        "def main(n=3, *, flag=True):\n    return {'n': n, 'flag': flag}\n", {}, {"n": 3, "flag": True}, "",
    ),
    "main of arguments": ("def main(*args, **kwargs):\n    return {'args': args, 'kwargs': kwargs}\n", {"input": {"a": 1}}, {"args": [{"a": 1}], "kwargs": {}}, ""),
    "a lambda and functools.partial": (
        "import functools\ndef work(a, b): return {'sum': a + b}\nmain = functools.partial(work, 1, b=2)\n", {}, {"sum": 3}, "",
    ),
    "input() and sys.stdin": (
        """
        import sys

        def main():
            name = input("Name? ")
            number = int(input())
            rest = [line.rstrip() for line in sys.stdin]
            try:
                input()
            except EOFError:
                print("end")
            return {"name": name, "number": number, "rest": rest}
        """,
        {"stdin": "Ada\n42\na\nb\u00e9"},
        {"name": "Ada", "number": 42, "rest": ["a", "b\u00e9"]},
        "Name? end\n",
    ),
    "no input is the end of the file": (
        "def main():\n    try:\n        input()\n    except EOFError as error:\n        return {'error': str(error)}\n", {}, {"error": "EOF when reading a line"}, "",
    ),
    "subprocess is refused in words that say so": (
        """
        import os, subprocess

        def outcome(call):
            try:
                return call()
            except OSError as error:
                return type(error).__name__

        def main():
            return {"run": outcome(lambda: subprocess.run(["/usr/bin/python3", "-V"], capture_output=True)), "shell": outcome(lambda: subprocess.check_output("ls", shell=True)),
                    "system": os.system("true") != 0, "which": __import__("shutil").which("ls")}
        """,
        {},
        {"run": ("PermissionError", "FileNotFoundError"), "shell": ("PermissionError", "FileNotFoundError"), "system": True, "which": None},
        "",
    ),
    "the network is refused as an OSError": (
        """
        import socket, urllib.error, urllib.request

        def main():
            out = {}
            try:
                urllib.request.urlopen("http://127.0.0.1:1/", timeout=5)
            except urllib.error.URLError as error:
                out["urlopen"] = type(error.reason).__name__
            try:
                socket.create_connection(("127.0.0.1", 1), 5)
            except OSError as error:
                out["connect"] = type(error).__name__
            try:
                socket.getaddrinfo("example.org", 80)
            except OSError as error:
                out["resolve"] = isinstance(error, OSError)
            return out
        """,
        {},
        {"urlopen": "PermissionError", "connect": "PermissionError", "resolve": True},
        "",
    ),
    "unicode everywhere": (
        """
        # -*- coding: utf-8 -*-
        import os, pathlib, unicodedata, json

        class Größe:
            naïve = "日本語"
            def 計算(self, π=3.14): return π

        def main(eingabe):
            path = pathlib.Path("ünï/日本.txt")
            path.parent.mkdir()
            path.write_text("\N{SNOWMAN}\U0001f600 é\\n")
            os.environ["SCHLÜSSEL"] = "wert€"
            print("κόσμε", Größe.naïve, "\U0001f600")
            return {"größe": Größe().計算(), "files": os.listdir("ünï"), "read": path.read_text(), "input": eingabe, "environ": os.environ["SCHLÜSSEL"],
                    "nfc": unicodedata.normalize("NFC", "e\u0301"), "upper": "ß".upper(), "bytes": os.fsencode("é").hex(), "json": json.dumps("é\U0001f600")}
        """,
        {"input": {"ключ": "знач\U0001f600"}},
        {"größe": 3.14, "files": ["日本.txt"], "read": "\N{SNOWMAN}\U0001f600 é\n", "input": {"ключ": "знач\U0001f600"}, "environ": "wert€", "nfc": "é", "upper": "SS",
         "bytes": "c3a9", "json": '"\\u00e9\\ud83d\\ude00"'},
        "κόσμε 日本語 \U0001f600\n",
    ),
    "much output": ("def main():\n    for n in range(20000):\n        print('line', n)\n    return {'n': n}\n", {}, {"n": 19999}, "".join(f"line {n}\n" for n in range(20000))),
    "output by every way": (
        """
        import os, sys, logging
        print("top level")
        sys.stdout.write("write ")
        sys.stdout.flush()
        sys.stdout.buffer.write(b"buffer\\n")

        def main():
            print("a", "b", sep="-", end="!\\n", flush=True)
            print("to stderr", file=sys.stderr)
            logging.warning("logged")
            os.write(1, b"descriptor\\n")
            with open("/dev/null", "w") as null:
                print("nowhere", file=null)
            return {"encoding": sys.stdout.encoding, "terminal": sys.stdout.isatty()}
        """,
        {},
        {"encoding": "utf-8", "terminal": False},
        "top level\nwrite buffer\na-b!\ndescriptor\n",
    ),
    "globals, nonlocal, closures and recursion": (
        """
        import sys, functools
        counter = 0
        sys.setrecursionlimit(5000)

        def fib(n, memo={}):
            if n < 2: return n
            if n not in memo: memo[n] = fib(n - 1) + fib(n - 2)
            return memo[n]

        @functools.lru_cache(maxsize=None)
        def ways(n): return 1 if n <= 1 else ways(n - 1) + ways(n - 2)

        def deep(n): return 0 if n == 0 else 1 + deep(n - 1)

        def main():
            global counter
            def outer():
                total = 0
                def inner():
                    nonlocal total
                    total += 1
                    return total
                return inner
            tick = outer()
            tick()
            for _ in range(3): counter += tick()
            try:
                deep(10 ** 6)
            except RecursionError:
                caught = True
            return {"counter": counter, "fib": fib(500) % 10 ** 9, "ways": ways(300) % 10 ** 9, "deep": deep(4000), "caught": caught}
        """,
        {},
        {"counter": 9, "fib": 521294125, "ways": 255589801, "deep": 4000, "caught": True},
        "",
    ),
    "match, walrus, f-strings and comprehensions": (
        """
        def kind(value):
            if isinstance(value, (list, tuple)) and len(value) == 2: return "pair"
            return {int: "int", str: "text"}.get(type(value), "other")

        def main():
            data = [1, "a", [1, 2], None]
            squares = {n: n ** 2 for n in range(5) if n % 2}
            first, *middle, last = data
            value, width = 3.14159, 10
            return {"kinds": [kind(each) for each in data], "squares": squares, "middle": middle, "formatted": f"{value:>{width}.2f}|{last!r}|{1_000_000:,}",
                    "walrus": [y for x in range(4) if (y := x * 2) > 2], "set": sorted({c for c in "hello"}), "nested": [[i * j for j in range(3)] for i in range(2)],
                    "zip": list(zip("ab", range(2))), "any": any(x > 3 for x in range(5)), "sliced": "abcdef"[::-2]}
        """,
        {},
        {"kinds": ["int", "text", "pair", "other"], "squares": {"1": 1, "3": 9}, "middle": ["a", [1, 2]], "formatted": "      3.14|None|1,000,000", "walrus": [4, 6],
         "set": ["e", "h", "l", "o"], "nested": [[0, 0, 0], [0, 1, 2]], "zip": [["a", 0], ["b", 1]], "any": True, "sliced": "fdb"},
        "",
    ),
    "exceptions of its own": (
        """
        import contextlib, sys, traceback, warnings

        class ApplicationError(Exception):
            def __init__(self, code, message):
                super().__init__(message)
                self.code = code

        @contextlib.contextmanager
        def resource(log):
            log.append("open")
            try:
                yield log
            finally:
                log.append("closed")

        def main():
            log = []
            try:
                with resource(log), contextlib.suppress(KeyError):
                    try:
                        {}["missing"]
                    except KeyError as error:
                        raise ApplicationError(7, "wrapped") from error
            except ApplicationError as error:
                caught = [error.code, str(error), type(error.__cause__).__name__]
                kept = traceback.format_exception_only(type(error), error)[-1].strip()
            finally:
                log.append("finally")
            try:
                sys.exit(3)
            except SystemExit as stop:
                code = stop.code
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    warnings.warn("old", DeprecationWarning)
                except DeprecationWarning:
                    log.append("warned")
            return {"log": log, "caught": caught, "text": kept, "code": code}
        """,
        {},
        {"log": ["open", "closed", "finally", "warned"], "caught": [7, "wrapped", "KeyError"], "text": "script.ApplicationError: wrapped", "code": 3},
        "",
    ),
    "files that came with the request": (
        """
        import csv, json, pathlib, sys
        import helper
        from package.module import VALUE

        def main():
            rows = list(csv.DictReader(open("data.csv", encoding="utf-8")))
            return {"rows": rows, "json": json.load(open("deep/conf.json")), "helper": helper.double(4), "value": VALUE, "file": pathlib.Path(helper.__file__).name}
        """,
        {"files": {"data.csv": "a,b\n1,é\n", "deep/conf.json": '{"k": [1]}', "helper.py": "def double(x): return x * 2\n", "package/__init__.py": "", "package/module.py": "VALUE = 5\n"}},
        {"rows": [{"a": "1", "b": "é"}], "json": {"k": [1]}, "helper": 8, "value": 5, "file": "helper.py"},
        "",
    ),
    "time, timers and the alarm as a timeout": (
        """
        import signal, threading, time

        class Timeout(Exception):
            pass

        def late(number, frame):
            raise Timeout

        def main():
            signal.signal(signal.SIGALRM, late)
            signal.alarm(1)
            try:
                while True:
                    time.sleep(0.05)
            except Timeout:
                alarmed = True
            finally:
                signal.alarm(0)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                while True:
                    time.sleep(0.05)
            except Timeout:
                timed = True
            return {"alarmed": alarmed, "timed": timed, "left": signal.setitimer(signal.ITIMER_REAL, 0)[0]}
        """,
        {},
        {"alarmed": True, "timed": True, "left": 0.0},
        "",
    ),
    "resource and gc": (
        """
        import gc, resource, sys, tracemalloc, weakref

        class Node:
            pass

        def main():
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))
            node = Node()
            node.itself = node
            reference = weakref.ref(node)
            del node
            gc.collect()
            return {"lowered": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "collected": reference() is None, "size": sys.getsizeof([]) > 0,
                    "page": resource.getpagesize(), "used": resource.getrusage(resource.RUSAGE_SELF).ru_utime >= 0}
        """,
        {},
        {"lowered": 20, "collected": True, "size": True, "page": 4096, "used": True},
        "",
    ),
}


# What a script that tries for a program or the network is told besides, in its record.
REFUSED = {"subprocess is refused in words that say so": "programs cannot be started in this jail", "the network is refused as an OSError": "the network is off in this jail"}


def agrees(found, wanted):
    """Equal; a tuple in what is wanted lists what else may be there."""
    if isinstance(wanted, tuple):
        return found in wanted
    if isinstance(wanted, dict):
        return isinstance(found, dict) and list(found) == list(wanted) and all(agrees(found[key], wanted[key]) for key in wanted)
    return found == wanted


@pytest.fixture(scope="module", params=harness.MODES)
def patient(request, launch):
    """A server whose limits a busy machine does not reach."""
    running = launch("--limits.wall_ms", "300s", "--limits.cpu_ms", "300s", user=request.param == "user")
    yield running
    running.stop()


@pytest.mark.parametrize("name", IDIOMS)
def test_idiom(patient, name):
    text, options, result, stdout = IDIOMS[name]
    record = patient.run(textwrap.dedent(text).lstrip("\n"), **options)
    assert record["status"] == "ok", (record["error"], record["denied"])
    assert agrees(record["result"], result), record["result"]
    assert record["stdout"] == stdout
    hints = {denied["hint"] for denied in record["denied"]}
    assert REFUSED[name] in hints if name in REFUSED else not hints, record["denied"]


def test_two_runs_have_different_random_numbers_and_the_same_with_a_seed(patient):
    text = """
    import random, secrets, uuid
    def main():
        free = [random.random(), secrets.token_hex(8), str(uuid.uuid4()), str(uuid.uuid1())]
        random.seed(5)
        return {"free": free, "seeded": [random.random(), random.choice("abcdef"), random.sample(range(100), 3)]}
    """
    one, two = patient.result(text), patient.result(text)
    assert one["seeded"] == two["seeded"]
    assert all(a != b for a, b in zip(one["free"], two["free"]))


@pytest.mark.parametrize("returned", ("(n for n in range(3))", "iter([])", "main", "object()", "open('/dev/null')"))
def test_a_result_that_is_no_object_is_told_so(patient, returned):
    record = patient.run(f"def main():\n    return {returned}\n")
    assert (record["status"], record["error"]["message"]) == ("contract_error", "main() must return a JSON object (e.g., a Python dict)")


@pytest.mark.parametrize("body, type_", (("yield {'v': 1}", "contract_error"), ("return (yield)", "contract_error")))
def test_a_generator_function_as_main(patient, body, type_):
    assert patient.run(f"def main():\n    {body}\n")["status"] == type_
