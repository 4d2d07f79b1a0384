"""A grandchild in a session of its own, whose parents are gone, and which ignores every signal: it is to outlive its run."""
CLASS = "processes that outlive their run"
RIGHT = "E"
STATUS = ("ok", "script_error", "process_limit")
STOPS = {"namespaces": "a pid namespace dies with its first process", "cgroup": "the kill of all that is in it", "forks": "no children",
         "supervisor": "ends what a dead run has left it as children"}
ALONE = True


def main(world):
    import signal, time
    if os.fork() == 0:
        try:
            os.setsid()
        except OSError:
            pass
        if os.fork() == 0:
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            os.closerange(0, 64)
            time.sleep(20)
        os._exit(0)
    os.wait()
    time.sleep(0.2)
    return {}


def around(server, world):
    """What survives is a descendant of the server's, or an orphan, when no run is there; it is then ended from here."""
    import harness, signal, time
    before = {process.pid for process in world.processes(server)}
    record = yield {}
    time.sleep(0.3)
    after = [*harness.descendants(server.pid), *harness.Traces.orphans()]
    left = [process for process in after if process.ticks == 0 and harness.command_of(process.pid) and is_grandchild(process, before)]
    for process in left:
        os.kill(process.pid, signal.SIGKILL)
    return f"{left} outlived its run" if left else None


def is_grandchild(process, before):
    """Neither one of the processes from before, nor one of the waiting jails: those hold a socket to the server."""
    if process.pid in before:
        return False
    try:
        return not os.listdir(f"/proc/{process.pid}/fd")
    except OSError:
        return False
