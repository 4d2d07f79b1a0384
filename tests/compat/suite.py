"""One module of CPython's own test suite, as a script: main({"module": name}) runs it and says test by test how it went.

The same text runs outside of the jail (cpython.py) and inside. What a jail refuses by its nature is left out on both sides alike, and
found by CPython's own audit events, so by what a test does and not by a list of names: a test that starts a program or opens a
socket of the network, or one with a name, is skipped there."""
import errno
import gc
import os
import sys
import unittest

PROGRAMS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"}
NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
LOCAL = 1  # AF_UNIX


LEFT_OUT = "starts a program", "opens a socket of the network", "asks for a name of the network", "gives a socket a name or asks for one"
running = False


def leave_out(event, arguments):
    if event in PROGRAMS:
        reason = LEFT_OUT[0]
    elif event == "socket.__new__" and arguments[1] not in (LOCAL, -1):
        reason = LEFT_OUT[1]
    elif event in NAMES:
        reason = LEFT_OUT[2]
    elif event in ("socket.bind", "socket.connect"):
        reason = LEFT_OUT[3]
    else:
        return
    # What modules try while they are loaded (is there IPv6?) is no test: it meets what it would meet in the jail.
    raise unittest.SkipTest(reason) if running else PermissionError(errno.EPERM, reason)


class Result(unittest.TestResult):
    """Names of the tests by how they ended; of failures the last line, too."""

    def __init__(self, *_):
        super().__init__()
        self.passed, self.skipped_tests, self.left_out, self.bad, self.whole = [], [], [], {}, None

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.append(test.id())

    addExpectedFailure = lambda self, test, error: self.passed.append(test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        (self.left_out if reason in LEFT_OUT else self.skipped_tests).append(test.id())

    def note(self, test, error):
        kind, value, traceback = error
        if test.id() in self.left_out:
            return  # its cleaning up misses what it did not come to
        while traceback and traceback.tb_next:
            traceback = traceback.tb_next
        place = f"{os.path.basename(traceback.tb_frame.f_code.co_filename)}:{traceback.tb_lineno}" if traceback else "?"
        self.bad[test.id()] = f"{kind.__name__}: {str(value)[:300]} ({place})"

    def addError(self, test, error):
        self.note(test, error)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error and issubclass(error[0], unittest.SkipTest):
            self.addSkip(test, str(error[1]))
        elif error:
            self.note(test, error)

    def addUnexpectedSuccess(self, test):
        self.bad[test.id()] = "unexpected success"


def prepare():
    """As libregrtest does, with every resource off."""
    from test import support

    support.use_resources = []
    support.verbose = 0
    support.record_original_stdout(sys.stdout)
    support.SHORT_TIMEOUT = support.LONG_TIMEOUT = support.LOOPBACK_TIMEOUT = 120.0
    sys.addaudithook(leave_out)
    # forget() removes what was never made from every directory of sys.path, and knows ENOENT only; a read-only /usr says EROFS.
    from test.support import os_helper

    unlink = os_helper._unlink

    def unlink_what_is_there(name):
        if not os.path.lexists(name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        unlink(name)

    os_helper._unlink = unlink_what_is_there
    # multiprocessing's spawn and forkserver start programs without an audit event.
    from multiprocessing import util

    def spawnv_passfds(*_):
        raise unittest.SkipTest(LEFT_OUT[0])

    util.spawnv_passfds = spawnv_passfds


def run(name, result):
    """The module's tests; its test_main() says which, where it has one."""
    from test import support

    global running
    module = __import__("test." + name, fromlist=["x"])
    running = True
    if hasattr(module, "test_main") and hasattr(support, "_run_suite"):
        support._run_suite = lambda suite: suite.run(result)
        module.test_main()
    else:
        unittest.defaultTestLoader.loadTestsFromModule(module).run(result)


def main(asked):
    result = Result()
    try:
        prepare()
        run(asked["module"], result)
    except unittest.SkipTest as error:
        result.whole = str(error)
    except Exception as error:
        import traceback

        traceback.print_exc()
        result.bad["the module"] = f"{type(error).__name__}: {error}"
    gc.collect()
    # A skipped class or module has one entry; a test's several subtests, several.
    return {"passed": sorted(set(result.passed)), "skipped": sorted(set(result.skipped_tests)), "left_out": sorted(set(result.left_out)), "bad": result.bad,
            "whole": result.whole}
