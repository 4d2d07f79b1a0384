"""The processes of a server, found as an operator would, and what may become of requests when one of them ends."""
import os
import signal

from harness import alive, command_of, is_python, pid_depth, wait_until


def of_python(server, deeper):
    depth = pid_depth(server.pid)
    found = [(each, pid_depth(each.pid)) for each in server.children() if is_python(each)]
    return [each for each, own in found if own and (own > depth) == deeper]  # 0: it has gone meanwhile


def named(server, name):
    return [each for each in server.children() if each.name == name]


def program(server, name):
    return [each for each in server.children() if name in command_of(each.pid)[0]]


FIND = {
    "run": lambda server: of_python(server, True),  # busy ones and those of the pool
    "zygote": lambda server: of_python(server, False),
    "front": lambda server: program(server, b"safe-script-http"),
    "tls": lambda server: program(server, b"safe-script-tls"),
    "relay": lambda server: named(server, "safe-script-log"),
    "starter": lambda server: named(server, "safe-starter"),
}

# Who has a request under way with a process that ends loses it with the connection; a kept run's record goes with its front. A run that
# dies is run again, ten times at most; a zygote's runs are the supervisor's and outlive it.
MAY = {
    "run": {"lost"},
    "zygote": set(),
    "front": {"closed", "gone"},
    "tls": {"closed"},
    "relay": set(),
}


def send(process, number):
    """False when it had gone."""
    try:
        os.kill(process.pid, number)
        return True
    except ProcessLookupError:
        return False


def kill(server, name, random):
    """Ends one of these processes by SIGKILL and returns it; None when there is none just now."""
    found = FIND[name](server)
    process = random.choice(found) if found else None
    return process if process and send(process, signal.SIGKILL) else None


def wait_other(server, name, process):
    """Waits until another has its place."""
    wait_until(lambda: not alive(process), f"the end of {process}")
    return wait_until(lambda: FIND[name](server), f"another {name}")
