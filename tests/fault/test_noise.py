"""Clients that send anything, read as little as they like and go when they like, many at once: the front lives on, answers no 500, and when
they have gone nothing of theirs is left. The sequence of each client is drawn from a number, which a failure shows."""
import json
import random
import re
import socket
import struct
import threading
import time

from harness import PATIENCE, wait_until

SECONDS, CLIENTS = 10, 16
SCRIPTS = (
    "def main():\n    return {'a': 1}\n",
    "def main():\n    for i in range(200): print('x' * 500)\n    return {}\n",
    "import time\ndef main():\n    for i in range(20):\n        print(i)\n        time.sleep(0.05)\n    return {}\n",
    "def main():\n    1 / 0\n",
    "def main():\n    while True: print('y' * 1000)\n",
    "import os\ndef main():\n    os.abort()\n",
    "def main():\n    open('f', 'w').write('z' * 300_000)\n    return {}\n",
    "import sys\ndef main():\n    sys.stdout.buffer.write(b'\\xff' * 100_000)\n    sys.stderr.write('e' * 50_000)\n    return {'x': 'y' * 100_000}\n",
)
HEADERS = (
    "Accept: text/event-stream", "Accept: text/event-stream;q=0.5, application/json;q=0.4", "Accept: " + "a/b," * 200, "Prefer: respond-async",
    "Prefer: wait=1, respond-async", "Expect: 100-continue", "Origin: https://a.example", "Connection: close", "X-Request-Id: abc",
    "Content-Encoding: identity", "Last-Event-ID: 3", "Cookie: a=b; c=d", "X: " + "z" * 5000, "Authorization: Bearer x", "Content-Length: 5",
    "Transfer-Encoding: chunked",
)  # fmt: skip
PATHS = ("/metrics", "/healthz", "/readyz", "/openapi.json", "/v1/jail", "/v1/environments", "/", "/nope")
FLAGS = (
    "--concurrency", "4", "--queue", "6", "--queue-timeout-ms", "700", "--heartbeat-ms", "100", "--records-bytes", "2MiB", "--records-seconds", "2",
    "--limits.wall_ms", "3000", "--body-timeout-ms", "2000", "--idle-timeout-ms", "2000", "--connections", "50", "--cors-origins", "https://a.example",
)  # fmt: skip


class Stranger:
    def __init__(self, server, number, runs):
        self.server, self.runs, self.random = server, runs, random.Random(number)
        self.faults = []

    def maybe(self, chance):
        return self.random.random() < chance

    def body(self):
        script = self.random.choice(SCRIPTS)
        if self.maybe(0.6):
            return script.encode(), "text/x-python"
        options = {
            "return_files": ["*"], "files": {"a/b": "c" * self.random.choice([1, 100_000])}, "stdin": "q" * self.random.choice([1, 200_000]),
            "limits": {"wall_ms": self.random.choice([1, 50, 500])}, "input": self.random.random(), "bogus": 1,
        }  # fmt: skip
        chosen = {name: value for name, value in options.items() if self.maybe(0.05 if name == "bogus" else 0.3)}
        return json.dumps({"script": script, **chosen}).encode(), "application/json"

    def request(self):
        body, kind = self.body() if self.maybe(0.55) else (b"", None)
        if kind:
            path, methods = self.random.choice(("/execute", "/v1/runs", "/v1/runs")), ("POST", "POST", "POST", "POST", "PUT", "HEAD", "GET")
        else:
            run = self.random.choice(self.runs[-30:] or ["run_" + "0" * 48])
            path = self.random.choice((f"/v1/runs/{run}", f"/v1/runs/{run}/events", f"/v1/runs/{run}/events", f"https://x/v1/runs/{run}", *PATHS))
            methods = ("GET", "GET", "GET", "HEAD", "DELETE", "OPTIONS")
        lines = [f"{self.random.choice(methods)} {path} HTTP/1.{self.random.choice('1110')}", "Host: x"]
        if kind:
            lines += [f"Content-Type: {kind}"] + [f"Content-Length: {len(body)}"] * self.maybe(0.97)
        lines += [each for each in HEADERS if self.maybe(0.07)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def mangled(self, data):
        if self.maybe(0.1):
            data = data[: self.random.randrange(len(data))]
        if data and self.maybe(0.05):
            at = self.random.randrange(len(data))
            data = data[:at] + bytes([self.random.randrange(256)]) + data[at + 1 :]
        return data

    def read(self, connected):
        got = b""
        try:
            for _ in range(self.random.randint(0, 20)):
                data = connected.recv(self.random.choice([10, 4096, 65536]))
                if not data:
                    break
                got += data
        except TimeoutError:
            pass
        self.runs += [run.decode() for run in re.findall(rb'"id":"(run_[0-9a-f]{48})"', got)]
        self.faults += [got[:500] for status in re.findall(rb"^HTTP/1.1 (5..)", got, re.MULTILINE) if status not in (b"503", b"505")]

    def talk(self, connected):
        connected.settimeout(self.random.choice([0.05, 0.3, 2]))
        for _ in range(self.random.randint(1, 5)):
            data = self.mangled(b"".join(self.request() for _ in range(self.random.choice([1, 1, 1, 2, 4]))))
            step = self.random.choice([len(data) + 1, len(data) + 1, 700])
            for at in range(0, len(data), step):
                connected.sendall(data[at : at + step])
            self.read(connected)
            if self.maybe(0.2):
                connected.shutdown(self.random.choice([socket.SHUT_WR, socket.SHUT_RDWR]))
        if self.maybe(0.3):  # a reset
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def work(self, end):
        while time.monotonic() < end:
            try:
                with socket.create_connection(self.server.address, PATIENCE) as connected:
                    self.talk(connected)
            except OSError:  # refused, reset, closed: all in order
                pass


def gauges(server):
    page = server.request("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^(safe_script_[^ ]+) (\S+)$", page, re.MULTILINE)}


def is_quiet(values):
    zero = ("safe_script_runs_in_flight", "safe_script_queue_length", "safe_script_http_body_bytes", "safe_script_records_kept", "safe_script_records_kept_bytes")
    connections = sum(value for name, value in values.items() if name.startswith("safe_script_http_connections{"))
    return connections == 1 and not any(values[name] for name in zero)  # that of the question


def test_noise(start_server, mode):
    server = start_server(*FLAGS, user=mode == "user")
    front, seed, runs = server.front(), random.randrange(1 << 32), []
    strangers = [Stranger(server, seed + number, runs) for number in range(CLIENTS)]
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=each.work, args=(end,), daemon=True) for each in strangers]
    for each in threads:
        each.start()
    for each in threads:
        each.join(SECONDS + 2 * PATIENCE)
    assert not any(each.is_alive() for each in threads), f"a client hangs (seed {seed})"
    faults = [fault for each in strangers for fault in each.faults]
    assert not faults, f"seed {seed}: {faults[:3]}"
    assert runs, "some were asynchronous or streamed, and answered"
    wait_until(lambda: is_quiet(gauges(server)), f"the end of all that they asked for (seed {seed}): {gauges(server)}")
    now = server.front()
    assert (now.pid, now.started) == (front.pid, front.started), f"the front has ended (seed {seed}): {server.log_lines()[-5:]}"
    server.assert_serves()
