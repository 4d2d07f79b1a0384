"""Turns a Python interpreter into a zygote: warms it, hands the extension what a run needs, and leaves the stack.

Started as `python3 -I -B -X utf8 bootstrap.py FD PATH`; FD is the socket to the supervisor, which says what is warmed
besides the usual modules, PATH has more directories with packages. What a run calls later is taken here, before any
script can patch it. Trusts the interpreter, its packages and the supervisor."""

import sys

# Widely used, cheap in pages; none starts a thread or keeps a file open.
WARM = """bisect collections.abc contextlib copy dataclasses datetime decimal enum functools gc heapq inspect io itertools
json linecache math operator os random re signal string threading time traceback types typing
warnings""".split()


def load_extension():
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    path = __file__.rpartition("/")[0] + "/_safe_script.abi3.so"
    spec = spec_from_file_location("_safe_script", path, loader=ExtensionFileLoader("_safe_script", path))
    extension = module_from_spec(spec)
    spec.loader.exec_module(extension)
    sys.modules.pop("_safe_script", None)
    return extension


def hide_epoll():
    """The jail has poll() and no epoll. Said before selectors looks, because its look here would find one."""
    import select

    for name in dir(select):
        if name.lower().startswith("epoll"):
            delattr(select, name)


def replace_tracker():
    """multiprocessing's tracker of shared memory is a program, and a run can start none. What it would clean up ends with the
    run, so this one does nothing. It stands there before, and without, the package itself."""
    from importlib.machinery import ModuleSpec
    from importlib.util import module_from_spec

    class ResourceTracker:
        _fd, _pid = 2, None

        def getfd(self):
            return self._fd

        def ensure_running(self):
            pass

        _stop = ensure_running

        def register(self, name, rtype):
            pass

        unregister = register

    tracker = ResourceTracker()
    module = module_from_spec(ModuleSpec("multiprocessing.resource_tracker", None))
    calls = {name: getattr(tracker, name) for name in ("getfd", "ensure_running", "register", "unregister")}
    vars(module).update(calls, ResourceTracker=ResourceTracker, _resource_tracker=tracker)
    sys.modules[module.__name__] = module


def replace_alarm(extension):
    """Of alarm(2) and setitimer(2) the jail allows the one that can do both."""
    import _signal
    import signal

    signal.alarm = _signal.alarm = extension.alarm()


def add_path(text):
    """As the supervisor's own look at the interpreter has it (interpreter.c)."""
    at = next((at for at, each in enumerate(sys.path) if each.endswith("-packages")), len(sys.path))
    sys.path[at:at] = [each for each in text.split(":") if each]


class Box:
    """A run's temporary directory, which a zygote has not. Imports that look for a place to write, as matplotlib does for
    its settings, are told that it is there, and keep its name; what they write there goes nowhere."""

    def __init__(self):
        import builtins
        import io
        import os
        import pathlib

        path = os.path.realpath("/tmp")
        access, mkdir, stat, unlink, real_open = os.access, os.mkdir, os.stat, os.unlink, open

        def within(name):
            name = os.fspath(name) if isinstance(name, (str, os.PathLike)) else ""
            return name == path or str(name).startswith(path + "/")

        def box_open(file, mode="r", *more, **named):
            if not within(file) or mode.strip("bt") == "r":
                return real_open(file, mode, *more, **named)
            named.pop("opener", None)
            return real_open("/dev/null", mode.replace("x", "w"), *more, **named)

        def box_stat(name, *more, **named):
            return stat("/" if within(name) and os.fspath(name) == path else name, *more, **named)

        calls = {
            "access": lambda name, *more, **named: within(name) or access(name, *more, **named),
            "mkdir": lambda name, *more, **named: None if within(name) else mkdir(name, *more, **named),
            "unlink": lambda name, *more, **named: None if within(name) else unlink(name, *more, **named),
            "stat": box_stat,
        }
        self.calls = [(os, name, call) for name, call in calls.items()]
        self.calls += [(io, "open", box_open), (builtins, "open", box_open)]
        accessor = getattr(pathlib, "_NormalAccessor", None)  # before 3.11 it has them of its own
        self.calls += [(accessor, name, staticmethod(call)) for name, call in calls.items() if hasattr(accessor, name)]
        self.usual = [(owner, name, vars(owner)[name]) for owner, name, _ in self.calls]

    def __enter__(self):
        for module, name, call in self.calls:
            setattr(module, name, call)

    def __exit__(self, *_):
        for module, name, call in self.usual:
            setattr(module, name, call)


# What the first use of a module makes or imports, made here once for all runs.
FIRST_USES = {
    "numpy": """
import numpy
array = numpy.arange(12.0).reshape(3, 4)
str(array), repr(array @ array.T), array.mean(), numpy.linalg.inv(numpy.eye(2)), numpy.sort(array), array.tolist()
""",
    "pandas": """
import io, pandas
frame = pandas.DataFrame({"k": ["a", "b", "a", "b"], "v": [1, 2, 3, 4], "x": [0.5, 1.5, 2.5, 3.5]})
frame.groupby("k")["v"].sum().to_dict(), frame.groupby("k").agg({"v": "mean", "x": "max"})
frame.describe(), str(frame), frame.merge(frame, on="k"), frame.sort_values("x").to_dict("records")
frame["k"].value_counts(), frame[frame["v"] > 1], pandas.to_datetime(["2024-01-31"]), frame.to_json()
pandas.read_csv(io.StringIO(frame.to_csv(index=False)))
""",
    "matplotlib.pyplot": """
import io, matplotlib.font_manager, matplotlib.pyplot
matplotlib.pyplot.figure()
matplotlib.pyplot.plot([1, 4, 9])
matplotlib.pyplot.title("a")
matplotlib.pyplot.savefig(io.BytesIO(), format="png")
matplotlib.pyplot.close("all")
matplotlib.font_manager._get_font.cache_clear()  # open files, which it would close again in each run
""",
}

# What each run of an environment with a module does while it waits: so that the pages that scripts write first are its own.
REHEARSALS = {
    "pandas": """
import pandas
pandas.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]}).groupby("k")["v"].sum().to_dict()
""",
}


def warm(names):
    import threading
    from importlib import import_module

    for name in names[: len(WARM)]:
        import_module(name)
    if len(names) == len(WARM):
        return
    with Box():
        for name in names:
            import_module(name)
        for name in names:
            exec(FIRST_USES.get(name, ""), {"__name__": "script"})
    for thread in threading.enumerate():  # one that was only a timer ends soon; another is refused later
        if thread is not threading.current_thread():
            thread.join(2)


def set_streams():
    """The standard streams as plain Python makes them under UTF-8 mode, but stdout by lines, so that a killed run's output
    is there. Made while the descriptors are of the kinds that a run has (a file, pipes): io objects remember that."""
    import io
    import os

    saved = [os.dup(fd) for fd in (0, 1, 2)]
    file = os.memfd_create("stdin")
    reader, writer = os.pipe()
    for fd, like in enumerate((file, writer, writer)):
        os.dup2(like, fd)
    rows = (("stdin", "r", "surrogateescape"), ("stdout", "w", "surrogateescape"), ("stderr", "w", "backslashreplace"))
    for fd, (name, mode, errors) in enumerate(rows):
        binary = open(fd, mode + "b", closefd=False)
        binary.raw.name = "<" + name + ">"
        stream = io.TextIOWrapper(binary, "utf-8", errors, newline="\n", line_buffering=mode == "w")
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, "__" + name + "__", stream)
    for fd, old in enumerate(saved):
        os.dup2(old, fd)
    for fd in (*saved, file, reader, writer):
        os.close(fd)


def set_process():
    """Environment, signals and sys as a script started by plain python3 finds them."""
    import os
    import signal
    import types

    os.environ.update(HOME="/box/work", USER="script", LOGNAME="script", PATH="/usr/bin:/bin", LANG="C.UTF-8")
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_BIND_NOW"):  # were for the C library's start
        os.environ.pop(name, None)
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path_importer_cache.pop(__file__, None)
    sys.argv = ["script.py"]
    sys.orig_argv = [sys.executable, "script.py"]
    sys.modules["__main__"] = types.ModuleType("__main__")


def make_reader():
    """read_input(text): the request's input. Integers of any size, whatever the interpreter's limit on digits."""
    from json import loads

    get = getattr(sys, "get_int_max_str_digits", int)
    put = getattr(sys, "set_int_max_str_digits", int)

    def read_input(text):
        digits = get()
        put(0)
        try:
            return loads(text)
        finally:
            put(digits)

    return read_input


def make_parameter():
    """parameter(main): 0 when it takes no positional argument, 1 when it may have one, 2 when it must. Of what is no plain
    function; those are looked at in C."""
    from inspect import Parameter, signature

    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)

    def parameter(main):
        try:
            first = next(iter(signature(main).parameters.values()), None)
        except (TypeError, ValueError):
            return 1  # builtins without a signature
        if first is None or first.kind not in positional:
            return 0
        return 2 if first.default is first.empty and first.kind != Parameter.VAR_POSITIONAL else 1

    return parameter


def make_search():
    """search(source): whether a source that does not compile, or whose top level raises, means to define main."""
    import re

    return re.compile(
        r"""^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+main\b
        | ^[ \t]*(?:\w+[ \t]*=[ \t]*)*main[ \t]*(?::[^=\n]*)?=(?!=)
        | ^[ \t]*(?:from\b[^#\n]*)?\bimport\b[^#\n]*(?:\bmain\b|\*)
        | ^[ \t]*from\b[^#\n]*\bimport[ \t]*\([^)]*\bmain\b""",
        re.MULTILINE | re.VERBOSE,
    ).search


def numpy_renewal(numpy_random):
    """What numpy.random.seed() does, at a third of its cost: nearly all that it calls is cold in a clone."""
    from os import urandom

    generator = getattr(getattr(numpy_random.mtrand, "_rand", None), "_bit_generator", None)

    def renew():
        key = memoryview(urandom(624 * 4)).cast("I")
        generator.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 624}}

    numpy_random.seed()  # nothing is left of a pair of normal numbers, or of a sequence of seeds
    try:
        renew()
    except (AttributeError, TypeError, ValueError):
        return numpy_random.seed
    return renew


def random_seed():
    """What makes random numbers anew, with an integer: random.seed() but for what it makes empty, which is done here."""
    import random
    from _random import Random

    random.seed()
    return Random.seed, random._inst


def renewals():
    """What every run must have of its own and a clone of a warm interpreter has in common with its siblings, besides random
    (random_seed): that and threading do this in fork hooks, which are not called; OpenSSL knows a fork by its pid, and every
    run's is 1."""
    import os

    modules = sys.modules
    if "numpy.random" in modules:
        yield numpy_renewal(modules["numpy.random"])
    if "_ssl" in modules:
        yield lambda add=modules["_ssl"].RAND_add: add(os.urandom(64), 64.0)
    if "tempfile" in modules:
        yield lambda: vars(modules["tempfile"]).update(_name_sequence=None, tempdir=None)
    if "uuid" in modules:
        yield lambda: vars(modules["uuid"]).update(_last_timestamp=None, _node=None)
    if "multiprocessing.process" in modules:
        yield lambda: setattr(modules["multiprocessing.process"].current_process(), "authkey", os.urandom(32))


def thread_renewals():
    """CPython forgets the main thread's native id after a fork. It is 1 in each pid namespace; elsewhere this is called."""
    from threading import main_thread

    if hasattr(main_thread(), "_set_native_id"):
        main_thread()._native_id = 1
        yield main_thread()._set_native_id


# Whose fork hooks a clone has no need of. Random numbers are renewed above; the others' make new locks of those that another
# thread may hold, and a zygote has none.
FORK_HOOKS = {"random", "threading", "logging", "concurrent.futures.thread", "asyncio.events", "_thread"}


def fork_hooks():
    """Whether a library of the operator's wants to be told of a fork. The interpreter says to nobody what it calls then, but
    keeps it in lists."""
    import gc
    import os

    def mark():
        pass

    os.register_at_fork(before=mark, after_in_child=mark, after_in_parent=mark)
    lists = [each for each in gc.get_referrers(mark) if type(each) is list and (each[0] is mark or each[-1] is mark)]
    for each in lists:
        each.remove(mark)
    owners = [getattr(hook, "__module__", None) or type(hook.__self__).__module__ for each in lists for hook in each]
    return len(lists) != 3 or not FORK_HOOKS.issuperset(owners)


def make_settle():
    """settle(work): the environment of a run whose box is not at /box."""
    from os import environ

    def settle(work):
        environ.update(HOME=work, TMPDIR=work.rpartition("/")[0] + "/tmp")
        environ["MPLCONFIGDIR"] = environ["TMPDIR"]

    return settle


def calming():
    """What a script may have set that would get in the way of the report."""
    import gc
    from functools import partial

    yield gc.disable  # no finalizer runs while the result is encoded
    yield partial(sys.settrace, None)
    yield partial(sys.setprofile, None)
    yield partial(sys.setrecursionlimit, sys.getrecursionlimit())
    if hasattr(sys, "set_int_max_str_digits"):
        yield partial(sys.set_int_max_str_digits, 0)


def tools(names):
    import builtins
    import linecache
    import threading
    import traceback
    import types

    return {
        "builtins": builtins,
        "compile": compile,
        "read_input": make_reader(),
        "parameter": make_parameter(),
        "search": make_search(),
        "settle": make_settle(),
        "format_exception": traceback.format_exception,
        "line_cache": linecache.cache,
        "coroutine": types.CoroutineType,
        "function": types.FunctionType,
        "type_name": type.__dict__["__name__"],
        "type_module": type.__dict__["__module__"],
        "error_number": OSError.__dict__["errno"],
        "bit_length": int.__dict__["bit_length"],
        "stdout": sys.stdout,
        "stderr": sys.stderr,
        "flush": type(sys.stdout).flush,
        "random_seed": random_seed(),
        "renew": tuple(renewals()),
        "renew_thread": tuple(thread_renewals()),
        "calm": tuple(calming()),
        "threads": threading.active_count(),
        "fork_hooks": fork_hooks(),
        "rehearsal": compile("".join(REHEARSALS.get(name, "") for name in names), "script.py", "exec"),
    }


def gather(rehearsal):
    """Makes the code of those functions that a rehearsal calls anew, one after the other. A call counts references to
    it, which is a write, and each run would write to a page of its own for each of them, wherever an import left it."""
    import gc
    from types import FunctionType

    called, made = {}, {}

    def note(frame, event, argument):
        if event == "call":
            called[id(frame.f_code)] = frame.f_code  # which keeps the number its own

    sys.setprofile(note)
    try:
        exec(rehearsal, {"__name__": "script"})
    except Exception:
        pass  # as in the rehearsals to come, whose failures are nobody's
    finally:
        sys.setprofile(None)
    for function in [each for each in gc.get_objects() if type(each) is FunctionType and id(each.__code__) in called]:
        code = function.__code__
        if id(code) not in made:
            made[id(code)] = code.replace()
        function.__code__ = made[id(code)]  # one for all that had one


def bootstrap():
    fd = int(sys.argv[1])
    extension = load_extension()
    try:
        hide_epoll()
        replace_tracker()
        replace_alarm(extension)
        add_path(sys.argv[2])
        names = WARM + extension.modules(fd).split()
        warm(names)
        set_streams()
        set_process()
        given = tools(names)
        if any(name in REHEARSALS for name in names):
            gather(given["rehearsal"])
        extension.prepare(fd, given)
    except BaseException as error:
        extension.refuse(fd, type(error).__name__ + ": " + str(error))
    import gc

    gc.collect()
    gc.freeze()
    # Not called but left to the interpreter as the hook for the exception below: so no frame of ours is on the stack of
    # any script, neither in its tracebacks nor within its reach.
    sys.excepthook = extension.serve
    raise SystemError("the zygote serves from the exception hook")


bootstrap()
