"""Clients that never stop asking and know what each answer must be.

    with load.on(server, may={"closed"}) as clients:
        …                       # something goes wrong
        clients.go_on()         # and right answers come again

Every request has an answer that is known before it is sent. What comes back is one of:

    right     exactly that
    refused   429 or 503, with Retry-After and words
    lost      the server's own word for a run that it lost ("lost"; on the small face 500)
    closed    the connection ended without an answer
    gone      404 for the id of an asynchronous run: its front has ended since
    wrong     anything else: another status, another result, half an answer, none within PATIENCE

`may` names what may happen besides "right"; "wrong" never may. The block's end asserts it.
"""
import base64
import collections
import contextlib
import http.client
import json
import random
import threading
import time

from harness import BUILD, PATIENCE, UnixConnection, wait_until

import openapi

LOST = "the server lost the run; it is safe to send it again"


class Wrong(Exception):
    pass


class Other(Exception):
    """Not the right answer, but an honest one: its name."""


def closes(action):
    """What `action` returns; a connection that ends is "closed", silence is wrong."""
    try:
        return action()
    except TimeoutError as error:
        raise Wrong(f"no answer within {PATIENCE} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Other("closed") from error


class Client:
    def __init__(self, server, seed):
        self.server, self.random = server, random.Random(seed)
        self.connection = None
        self.number = seed << 32

    def connect(self):
        if isinstance(self.server.address, str):
            return UnixConnection(self.server.address, PATIENCE)
        if self.server.tls:
            return http.client.HTTPSConnection(*self.server.address, timeout=PATIENCE, context=self.server.tls)
        return http.client.HTTPConnection(*self.server.address, timeout=PATIENCE)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body) of a whole answer that the API's document knows."""
        if not self.connection:
            self.connection = self.connect()
        encoded = json.dumps(body).encode() if body is not None else None
        kind = {"Content-Type": "application/json"} if body is not None else {}
        closes(lambda: self.connection.request(method, path, encoded, {**kind, **(headers or {})}))
        response = closes(self.connection.getresponse)
        content = closes(response.read)
        openapi.document(BUILD).check(method, path, response.status, response.headers, content)
        if response.status in (429, 503) and int(response.headers.get("Retry-After", "0")) > 0 and content:
            raise Other("refused")
        if response.status == 500 and json.loads(content) == {"error": LOST}:
            raise Other("lost")
        return response.status, response.headers, content

    def record(self, script, **options):
        status, _, content = self.ask("POST", "/v1/runs", {"script": script, **options})
        return self.judged(status, content)

    @staticmethod
    def judged(status, content):
        if status != 200:
            raise Wrong(f"{status} {content}")
        record = json.loads(content)
        if record["status"] == "lost":
            raise Other("lost")
        return record

    def events(self, script, **options):
        """Those of a new run. Whoever is cut off has been told so by the connection's end."""
        connection = self.connect()
        try:
            body = json.dumps({"script": script, **options})
            headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
            closes(lambda: connection.request("POST", "/v1/runs", body, headers))
            response = closes(connection.getresponse)
            content = closes(response.read).decode()
        finally:
            connection.close()
        if response.status in (429, 503) and int(response.headers.get("Retry-After", "0")) > 0:
            raise Other("refused")
        if response.status != 200:
            raise Wrong(f"{response.status} {content}")
        events = []
        for block in content.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line and line[0] != ":")
            if fields:
                events.append((fields["event"], json.loads(fields["data"])))
        if not events or events[-1][0] != "finished":
            raise Wrong(f"a whole stream without an end: {content}")
        if events[-1][1]["status"] == "lost":
            raise Other("lost")
        return events

    def same(self, got, wanted):
        if got != wanted:
            raise Wrong(f"got {got!r}, wanted {wanted!r}")

    # One function for each kind of request; n is a number that no other request has.

    def small(self, n):
        status, _, content = self.ask("POST", "/execute", {"script": f"def main(i):\n    print({n})\n    return i\n", "input": {"n": n}})
        self.same((status, content), (200, b'{"result":{"n":%d},"stdout":"%d"}' % (n, n)))

    def raises(self, n):
        status, _, content = self.ask("POST", "/execute", {"script": f"def main():\n    raise KeyError({n})\n"})
        self.same((status, content), (400, b'{"error":"KeyError: %d (script.py, line 2)"}' % n))

    def no_value(self, n):
        status, _, content = self.ask("POST", "/execute", {"script": f"def main():\n    print({n})\n"})
        self.same((status, content), (400, b'{"error":"main() did not return a value"}'))

    def sleeps(self, n):
        record = self.record(f"import time\ndef main():\n    print({n})\n    time.sleep({self.random.uniform(0, 0.6)})\n    return {{'n': {n}}}\n")
        self.same((record["status"], record["result"], record["stdout"]), ("ok", {"n": n}, f"{n}\n"))

    def computes(self, n):
        record = self.record(f"def main():\n    total = 0\n    for i in range(300000): total += i\n    return {{'n': total + {n}}}\n")
        self.same((record["status"], record["result"]), ("ok", {"n": 44999850000 + n}))

    def files(self, n):
        options = {"files": {"in": str(n)}, "return_files": ["out"], "stdin": f"<{n}>"}
        record = self.record("import sys\ndef main():\n    open('out', 'w').write(open('in').read() * 2 + sys.stdin.read())\n    return {}\n", **options)
        self.same((record["status"], [base64.b64decode(each["content"]).decode() for each in record["files"]]), ("ok", [f"{n}{n}<{n}>"]))

    def exits(self, n):
        record = self.record(f"import os\ndef main():\n    os.write(1, b'{n}')\n    os._exit(3)\n")
        self.same((record["status"], record["result"], record["stdout"]), ("exited", None, f"{n}"))

    def dies(self, n):
        record = self.record(f"import os\ndef main():\n    os.write(1, b'{n}')\n    os.abort()\n")
        self.same((record["status"], record["error"]["message"]), ("killed", "script was killed by signal SIGABRT"))

    def too_slow(self, _):
        record = self.record("import time\ndef main():\n    time.sleep(50)\n    return {}\n", limits={"wall_ms": 400})
        self.same((record["status"], record["error"]["message"]), ("time_limit", "time limit exceeded: 0.4 s"))

    def too_much(self, _):
        record = self.record("def main():\n    while True: print('x' * 1000)\n", limits={"output_bytes": 1000})
        self.same((record["status"], record["stdout"][:1000]), ("output_limit", "x" * 1000))

    def streams(self, n):
        events = self.events(f"import time\ndef main():\n    print({n})\n    time.sleep(0.2)\n    print('end')\n    return {{'n': {n}}}\n")
        start = max(at for at, (name, _) in enumerate(events) if name == "started")  # what was said before never was
        text = "".join(data["text"] for name, data in events[start:] if name == "stdout")
        results = [data for name, data in events if name == "result"]
        self.same((events[-1][1]["status"], text, results), ("ok", f"{n}\nend\n", [{"n": n}]))

    def asynchronous(self, n):
        script = f"import time\ndef main():\n    time.sleep(0.2)\n    return {{'n': {n}}}\n"
        status, headers, content = self.ask("POST", "/v1/runs", {"script": script}, {"Prefer": "respond-async"})
        if status != 202:
            raise Wrong(f"{status} {content}")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status, _, content = self.ask("GET", headers["Location"])
            if status in (404, 410):
                raise Other("gone")
            record = self.judged(status, content)
            if record["status"] not in ("queued", "running"):
                self.same((record["status"], record["result"]), ("ok", {"n": n}))
                return
            time.sleep(0.1)
        raise Wrong(f"still {record['status']} after {PATIENCE} s")

    KINDS = (small, small, small, raises, no_value, sleeps, computes, files, exits, dies, too_slow, too_much, streams, asynchronous)

    def one(self):
        """(kind, what became of it, words)"""
        self.number += 1
        kind = self.random.choice(self.KINDS)
        try:
            kind(self, self.number)
            return kind.__name__, "right", ""
        except Other as other:
            self.close()
            return kind.__name__, str(other), ""
        except Wrong as wrong:
            self.close()
            return kind.__name__, "wrong", str(wrong)
        except Exception as error:  # what is no answer of this API at all
            self.close()
            return kind.__name__, "wrong", f"{type(error).__name__}: {error}"


class Load:
    def __init__(self, server, clients, may, seed):
        self.may = may
        self.counts, self.faults = collections.Counter(), []
        self.stopped, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(Client(server, seed * 1000 + i),), daemon=True) for i in range(1, clients + 1)]

    def work(self, client):
        while not self.stopped.is_set():
            kind, what, words = client.one()
            with self.lock:
                self.counts[what] += 1
                if what != "right" and what not in self.may:
                    self.faults.append(f"{kind}: {what} {words}")
            if what in ("closed", "refused"):
                self.stopped.wait(0.05)  # nobody hammers a door that is shut
        client.close()

    def go_on(self, answers=20):
        """Waits until so many right answers have come from now on."""
        wanted = self.counts["right"] + answers
        wait_until(lambda: self.faults or self.counts["right"] >= wanted, f"{answers} more right answers, there are {dict(self.counts)}")
        assert not self.faults, self.faults[:10]

    def end(self):
        """Every request that is under way has its answer, within PATIENCE."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(2 * PATIENCE)
        assert not any(thread.is_alive() for thread in self.threads), "a request hangs"
        assert not self.faults, (dict(self.counts), self.faults[:10])


@contextlib.contextmanager
def on(server, clients=6, may=(), seed=1):
    load = Load(server, clients, set(may), seed)
    for thread in load.threads:
        thread.start()
    try:
        load.go_on()
        yield load
    except BaseException:
        load.stopped.set()
        raise
    load.end()
