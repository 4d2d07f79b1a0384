"""Ordinary scripts: what people use Python for works in the jail as it does outside. Each checks its result, and that nothing was denied on
the way, so that "denied" in a record always means something."""
import textwrap

import harness
import pytest

# name → (body of main(), its result). Imports stand in the body: that is their first.
ORDINARY = {
    "threads": (
        """
        import threading
        total, lock, ready = [0], threading.Lock(), threading.Barrier(8)
        def work():
            ready.wait()
            for _ in range(100):
                with lock:
                    total[0] += 1
        threads = [threading.Thread(target=work) for _ in range(8)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        local, event = threading.local(), threading.Event()
        timer = threading.Timer(0.01, event.set)
        timer.start()
        return {"total": total[0], "timer": event.wait(60), "local": hasattr(local, "x"), "timeout": lock.acquire() and lock.acquire(timeout=0.01)}
        """,
        {"total": 800, "timer": True, "local": False, "timeout": False},
    ),
    "concurrent.futures threads": (
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed
        with ThreadPoolExecutor(4) as pool:
            done = sorted(each.result() for each in as_completed([pool.submit(pow, n, 2) for n in range(10)]))
            return {"map": list(pool.map(str, range(3))), "done": done}
        """,
        {"map": ["0", "1", "2"], "done": [n * n for n in range(10)]},
    ),
    "queue": (
        """
        import queue, threading
        q, out = queue.Queue(2), []
        reader = threading.Thread(target=lambda: out.extend(iter(q.get, None)))
        reader.start()
        [q.put(n) for n in (*range(20), None)]
        reader.join()
        return {"out": out}
        """,
        {"out": list(range(20))},
    ),
    "asyncio": (
        """
        import asyncio
        async def work(n):
            await asyncio.sleep(0.001 * n)
            return n
        async def everything():
            queue, lock = asyncio.Queue(), asyncio.Lock()
            async with lock:
                await queue.put(7)
            try:
                await asyncio.wait_for(asyncio.sleep(600), 0.01)
            except asyncio.TimeoutError:
                late = True
            loop = asyncio.get_running_loop()
            return [await asyncio.gather(*map(work, (3, 1, 2))), await asyncio.to_thread(sum, [1, 2]), await queue.get(), late,
                    await loop.run_in_executor(None, max, 4, 5)]
        return {"out": asyncio.run(everything())}
        """,
        {"out": [[3, 1, 2], 3, 7, True, 5]},
    ),
    "asyncio streams over a pair": (
        """
        import asyncio, socket
        async def talk():
            one, two = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=one)
            other, back = await asyncio.open_connection(sock=two)
            back.write(b"line\\n" * 1000)
            await back.drain()
            lines = [await reader.readline() for _ in range(1000)]
            writer.close(), back.close()
            return len(set(lines)), len(lines)
        return {"out": asyncio.run(talk())}
        """,
        {"out": [1, 1000]},
    ),
    "select and pipes": (
        """
        import os, select, selectors
        r, w = os.pipe()
        poll = select.poll()
        poll.register(r, select.POLLIN)
        before = [select.select([r], [], [], 0)[0], poll.poll(0)]
        os.write(w, b"abc")
        with selectors.DefaultSelector() as selector:
            selector.register(r, selectors.EVENT_READ, "data")
            found = [key.data for key, _ in selector.select(60)]
        os.set_blocking(r, False)
        return {"before": before, "found": found, "select": select.select([r], [w], [], 60)[0] == [r], "poll": poll.poll(60)[0][0] == r, "read": os.read(r, 9).decode()}
        """,
        {"before": [[], []], "found": ["data"], "select": True, "poll": True, "read": "abc"},
    ),
    "socketpair": (
        """
        import socket
        one, two = socket.socketpair()
        one.settimeout(0.01)
        try:
            one.recv(1)
        except socket.timeout:
            late = True
        two.sendall(b"x" * 10000)
        got = b""
        while len(got) < 10000:
            got += one.recv(4096)
        one.close()
        return {"late": late, "got": len(got), "end": two.recv(1).decode()}
        """,
        {"late": True, "got": 10000, "end": ""},
    ),
    "sqlite3": (
        """
        import sqlite3
        for name in (":memory:", "file.db"):
            with sqlite3.connect(name) as db:
                db.execute("pragma journal_mode=" + ("wal" if name == "file.db" else "memory"))
                db.execute("create table t (id integer primary key, name text)")
                db.executemany("insert into t (name) values (?)", [(f"n{n}",) for n in range(1000)])
                db.execute("create index i on t (name)")
            try:
                with db:
                    db.execute("delete from t")
                    raise ValueError
            except ValueError:
                pass
        again = sqlite3.connect("file.db")
        again.execute("vacuum")
        return {"rows": again.execute("select count(*), max(name) from t").fetchone(), "check": again.execute("pragma integrity_check").fetchone()[0],
                "json": again.execute("select json_extract('{\\"a\\": [1, 2]}', '$.a[1]')").fetchone()[0]}
        """,
        {"rows": [1000, "n999"], "check": "ok", "json": 2},
    ),
    "tempfile": (
        """
        import os, tempfile
        with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile("w+", dir=directory) as named, tempfile.TemporaryFile() as file:
            named.write("x"), named.flush(), file.write(b"yy"), file.seek(0)
            inside = [os.listdir(directory) == [os.path.basename(named.name)], file.read().decode(), open(named.name).read()]
            deep = os.path.join(directory, "a/b/c")
            os.makedirs(deep)
        with tempfile.SpooledTemporaryFile(10) as spooled:
            spooled.write(b"z" * 100), spooled.seek(0)
            return {"inside": inside, "gone": not os.path.exists(directory), "dir": tempfile.gettempdir(), "spooled": len(spooled.read())}
        """,
        {"inside": [True, "yy", "x"], "gone": True, "dir": "/tmp", "spooled": 100},
    ),
    "pathlib and shutil": (
        """
        import os, pathlib, shutil
        top = pathlib.Path("top")
        (top / "a" / "b").mkdir(parents=True)
        (top / "a" / "b" / "f.txt").write_text("text")
        (top / "g.bin").write_bytes(b"123")
        os.utime(top / "g.bin", (1, 2))
        (top / "g.bin").chmod(0o640)
        shutil.copytree(top, "copy")
        shutil.move("copy/a", "moved")
        (top / "g.bin").rename(top / "h.bin")
        (top / "h.bin").touch()
        copy = pathlib.Path("copy/g.bin")
        out = {"rglob": sorted(str(path) for path in pathlib.Path().rglob("*") if path.is_file()), "mtime": copy.stat().st_mtime, "mode": oct(copy.stat().st_mode & 0o777),
               "cwd": str(pathlib.Path.cwd()), "home": str(pathlib.Path.home()), "resolve": str(pathlib.Path("top/../copy").resolve()),
               "free": shutil.disk_usage(".").free > 0, "walk": [len(files) for _, _, files in os.walk("top")]}
        shutil.rmtree(top), shutil.rmtree("copy"), (pathlib.Path("moved") / "b" / "f.txt").unlink(), os.removedirs("moved/b")
        return {**out, "left": os.listdir()}
        """,
        {"rglob": ["copy/g.bin", "moved/b/f.txt", "top/a/b/f.txt", "top/h.bin"], "mtime": 2.0, "mode": "0o640", "cwd": "/box/work", "home": "/box/work",
         "resolve": "/box/work/copy", "free": True, "walk": [1, 0, 1], "left": []},
    ),
    "files": (
        """
        import fileinput, glob, io, linecache, mmap, os
        with open("f", "w+", encoding="utf-16") as file:
            file.write("é\\n" * 100)
            file.seek(0)
            lines = len(file.readlines())
        with open("g", "wb+", buffering=0) as file:
            file.truncate(8192)
            with mmap.mmap(file.fileno(), 0) as mapped:
                mapped[4096:4099] = b"abc"
                mapped.flush()
            file.seek(4096)
            read = file.read(3).decode()
        with mmap.mmap(-1, 4096) as private:
            private.write(b"xyz")
            found = private.find(b"z", 0)
        fd = os.open("h", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, b"0123456789"), os.pwrite(fd, b"X", 5), os.fsync(fd), os.ftruncate(fd, 8)
        other = os.dup(fd)
        return {"lines": lines, "read": read, "found": found, "pread": os.pread(other, 8, 0).decode(), "glob": sorted(glob.glob("?")), "line": linecache.getline("h", 1),
                "input": list(fileinput.input(["h"])), "size": os.path.getsize("h"), "access": [os.access("h", os.W_OK), os.access("/usr/lib", os.W_OK)]}
        """,
        {"lines": 100, "read": "abc", "found": 2, "pread": "01234X67", "glob": ["f", "g", "h"], "line": "01234X67\n", "input": ["01234X67"], "size": 8,
         "access": [True, False]},
    ),
    "file locks": (
        """
        import fcntl, os
        with open("lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
            fcntl.lockf(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_UN)
            return {"done": True}
        """,
        {"done": True},
    ),
    "decimal and fractions": (
        """
        import cmath, decimal, fractions, math, statistics
        decimal.getcontext().prec = 60
        return {"sqrt": str(decimal.Decimal(2).sqrt()), "fraction": str(fractions.Fraction("0.125") + 1), "mean": statistics.mean([1, 2, 6]), "comb": math.comb(50, 25),
                "phase": round(cmath.phase(-1), 5), "big": str(7 ** 100)[-9:], "stdev": statistics.stdev([2, 4, 4, 4, 5, 5, 7, 9])}
        """,
        {"sqrt": "1.41421356237309504880168872420969807856967187537694807317668", "fraction": "9/8", "mean": 3, "comb": 126410606437752, "phase": 3.14159,
         "big": "928060001", "stdev": 2.138089935299395},
    ),
    "zoneinfo and datetime": (
        """
        import calendar, datetime, time, zoneinfo
        new_york = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
        return {"utc": new_york.astimezone(datetime.timezone.utc).isoformat(), "zones": len(zoneinfo.available_timezones()) > 300,
                "parsed": datetime.datetime.strptime("3 Mar 2026", "%d %b %Y").isocalendar()[1], "leap": calendar.isleap(2028),
                "formatted": time.strftime("%Y-%m-%d", time.gmtime(86400)), "now": datetime.datetime.now(datetime.timezone.utc).year >= 2024}
        """,
        {"utc": "2026-07-01T16:00:00+00:00", "zones": True, "parsed": 10, "leap": True, "formatted": "1970-01-02", "now": True},
    ),
    "locale": (
        """
        import gettext, locale
        name = locale.setlocale(locale.LC_ALL, "")
        return {"utf-8": locale.getpreferredencoding().lower(), "name": name, "sorted": sorted("bca", key=locale.strxfrm), "number": locale.format_string("%.2f", 1234.5),
                "text": gettext.gettext("text")}
        """,
        {"utf-8": "utf-8", "name": "C.UTF-8", "sorted": ["a", "b", "c"], "number": "1234.50", "text": "text"},
    ),
    "ssl contexts": (
        """
        import ssl
        context = ssl.create_default_context()
        one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(one, two, server_hostname="example.org")
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            hello = two.read()
        return {"authorities": len(context.get_ca_certs()) > 50, "verify": context.verify_mode == ssl.CERT_REQUIRED, "hello": hello[:1].hex(), "random": len(ssl.RAND_bytes(16))}
        """,
        {"authorities": True, "verify": True, "hello": "16", "random": 16},
    ),
    "hashes": (
        """
        import binascii, base64, hashlib, hmac, secrets, uuid, zlib
        return {"sha256": hashlib.sha256(b"abc").hexdigest()[:16], "blake2": hashlib.blake2b(b"abc", digest_size=8).hexdigest(), "md5": hashlib.md5(b"").hexdigest()[:8],
                "scrypt": hashlib.scrypt(b"p", salt=b"s", n=16, r=8, p=1, dklen=8).hex(), "pbkdf2": hashlib.pbkdf2_hmac("sha256", b"p", b"s", 1000)[:4].hex(),
                "hmac": hmac.new(b"k", b"m", "sha256").hexdigest()[:8], "crc": zlib.crc32(b"abc"), "b64": base64.b64encode(b"abc").decode(), "hex": binascii.hexlify(b"a").decode(),
                "token": len(secrets.token_hex(8)), "choice": secrets.choice([1]), "uuid": [uuid.uuid4().version, str(uuid.uuid5(uuid.NAMESPACE_DNS, "python.org"))]}
        """,
        {"sha256": "ba7816bf8f01cfea", "blake2": "d8bb14d833d59559", "md5": "d41d8cd9", "scrypt": "4efe92b5bba5ee18", "pbkdf2": "07f5f5e2", "hmac": "b60090e3", "crc": 891568578, "b64": "YWJj",
         "hex": "61", "token": 16, "choice": 1, "uuid": [4, "886313e1-3b8a-5372-9b90-0c9aee199e5d"]},
    ),
    "archives": (
        """
        import bz2, gzip, io, lzma, os, tarfile, zipfile, zlib
        text = b"text " * 10000
        open("f.txt", "wb").write(text)
        with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write("f.txt"), archive.writestr("dir/g.txt", "g")
        sizes = []
        for kind in ("gz", "bz2", "xz"):
            with tarfile.open("a.tar." + kind, "w:" + kind) as archive:
                archive.add("f.txt")
            with tarfile.open("a.tar." + kind) as archive:
                archive.extractall("out-" + kind)
            sizes.append(os.path.getsize(f"out-{kind}/f.txt"))
        with zipfile.ZipFile("a.zip") as archive:
            archive.extractall("unzipped")
            names = archive.namelist(), archive.testzip()
        return {"sizes": sizes, "names": names, "g": open("unzipped/dir/g.txt").read(), "gzip": gzip.decompress(gzip.compress(text)) == text,
                "bz2": bz2.decompress(bz2.compress(text)) == text, "lzma": lzma.decompress(lzma.compress(text)) == text, "zlib": len(zlib.decompress(zlib.compress(text)))}
        """,
        {"sizes": [50000] * 3, "names": [["f.txt", "dir/g.txt"], None], "g": "g", "gzip": True, "bz2": True, "lzma": True, "zlib": 50000},
    ),
    "json, csv, re": (
        """
        import configparser, csv, importlib.util, io, json, re, string, textwrap
        loads = importlib.import_module("tomllib").loads if importlib.util.find_spec("tomllib") else json.loads  # from 3.11 on
        with open("t.csv", "w", newline="") as file:
            csv.DictWriter(file, ["a", "b"]).writerows([{"a": 1, "b": 'x "y", z'}])
        with open("t.csv", newline="") as file:
            rows = list(csv.reader(file))
        ini = configparser.ConfigParser()
        ini.read_string("[s]\\nk = v")
        return {"rows": rows, "json": json.loads(json.dumps({"é": [1.5, None, True]}, indent=1)), "re": re.sub(r"(?P<w>\\w+)@", r"<\\g<w>>", "me@here"), "ini": ini["s"]["k"],
                "template": string.Template("$a").substitute(a=1), "fill": textwrap.fill("a b c", 3), "toml": loads("a = [1, 2]" if loads is not json.loads else '{"a": [1, 2]}')["a"], "split": re.findall("[a-z]+", "ab-cd")}
        """,
        {"rows": [["1", 'x "y", z']], "json": {"é": [1.5, None, True]}, "re": "<me>here", "ini": "v", "template": "1", "fill": "a b\nc", "toml": [1, 2], "split": ["ab", "cd"]},
    ),
    "logging": (
        """
        import io, logging, logging.config, logging.handlers, warnings
        stream = io.StringIO()
        logging.basicConfig(stream=stream, level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s", force=True)
        logging.getLogger("a.b").warning("text %d", 1)
        handler = logging.handlers.RotatingFileHandler("log", maxBytes=100, backupCount=2)
        logging.getLogger().addHandler(handler)
        [logging.info("line %d", n) for n in range(50)]
        logging.shutdown()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("careful")
        import os
        return {"first": stream.getvalue().splitlines()[0], "files": sorted(os.listdir()), "warned": str(caught[0].message)}
        """,
        {"first": "WARNING:a.b:text 1", "files": ["log", "log.1", "log.2"], "warned": "careful"},
    ),
    "ctypes": (
        """
        import ctypes, ctypes.util, struct
        libc, libm = ctypes.CDLL(None), ctypes.CDLL("libm.so.6")
        libm.pow.restype, libm.pow.argtypes = ctypes.c_double, [ctypes.c_double] * 2
        numbers = (ctypes.c_int * 5)(5, 3, 1, 4, 2)
        order = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))(lambda a, b: a[0] - b[0])
        libc.qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), order)
        class Point(ctypes.Structure):
            _fields_ = [("x", ctypes.c_int16), ("y", ctypes.c_double)]
        return {"pow": libm.pow(2.0, 10.0), "sorted": list(numbers), "size": ctypes.sizeof(Point), "bytes": struct.pack("<hI", 1, 2).hex(), "len": libc.strlen(b"abcd")}
        """,
        {"pow": 1024.0, "sorted": [1, 2, 3, 4, 5], "size": 16, "bytes": "010002000000", "len": 4},
    ),
    "unittest and doctest": (
        """
        import doctest, io, types, unittest, unittest.mock
        class Case(unittest.TestCase):
            def test_good(self):
                with unittest.mock.patch("os.getcwd", return_value="x"):
                    import os
                    self.assertEqual(os.getcwd(), "x")
            def test_bad(self):
                self.assertTrue(False)
        result = unittest.TextTestRunner(io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromTestCase(Case))
        module = types.ModuleType("m", ">>> 1 + 1\\n2\\n>>> 2 + 2\\n5\\n")
        with open("/dev/null", "w") as null:
            import contextlib
            with contextlib.redirect_stdout(null):
                tested = doctest.testmod(module)
        return {"run": result.testsRun, "failed": len(result.failures), "errors": len(result.errors), "doctest": [tested.failed, tested.attempted]}
        """,
        {"run": 2, "failed": 1, "errors": 0, "doctest": [1, 2]},
    ),
    "language tools": (
        """
        import ast, dataclasses, dis, enum, functools, importlib, importlib.resources, inspect, itertools, operator, tokenize, io, typing, abc, copy, contextlib
        @dataclasses.dataclass(order=True)
        class Item:
            name: str
            price: float = 1.0
            def double(self) -> float:
                return self.price * 2
        class Color(enum.Flag):
            RED = enum.auto()
            BLUE = enum.auto()
        open("mymodule.py", "w").write("VALUE = 42\\ndef f(a, *, b=1): return a")
        import sys
        sys.path.insert(0, ".")
        module = importlib.import_module("mymodule")
        return {"item": dataclasses.asdict(Item("a")), "hints": str(typing.get_type_hints(Item)["price"]), "source": "self.price * 2" in inspect.getsource(Item.double),
                "signature": str(inspect.signature(module.f)), "value": module.VALUE, "color": (Color.RED | Color.BLUE).value, "ast": ast.unparse(ast.parse("x=1+2")),
                "spec": importlib.util.find_spec("json.decoder").name, "dis": any(op.opname == "RETURN_VALUE" for op in dis.get_instructions(module.f)),
                "cache": functools.lru_cache(lambda n: n * 2)(4), "groups": [(k, len(list(g))) for k, g in itertools.groupby("aab")], "deep": copy.deepcopy({"a": [1]})}
        """,
        {"item": {"name": "a", "price": 1.0}, "hints": "<class 'float'>", "source": True, "signature": "(a, *, b=1)", "value": 42, "color": 3, "ast": "x = 1 + 2",
         "spec": "json.decoder", "dis": True, "cache": 8, "groups": [["a", 2], ["b", 1]], "deep": {"a": [1]}},
    ),
    "pickle, shelve and dbm": (
        """
        import collections, dbm, marshal, pickle, plistlib, shelve
        with shelve.open("shelf") as shelf:
            shelf["a"] = {"deep": [1, 2]}
        with shelve.open("shelf") as shelf:
            kept = shelf["a"]
        with dbm.open("base", "c") as base:
            base["k"] = b"v"
            value = base["k"].decode()
        return {"kept": kept, "value": value, "pickle": pickle.loads(pickle.dumps(collections.Counter("aab"), 5))["a"], "marshal": marshal.loads(marshal.dumps([1])),
                "plist": plistlib.loads(plistlib.dumps({"a": 1}))}
        """,
        {"kept": {"deep": [1, 2]}, "value": "v", "pickle": 2, "marshal": [1], "plist": {"a": 1}},
    ),
    "xml and html": (
        """
        import html, html.parser, xml.dom.minidom, xml.etree.ElementTree as tree, xml.sax
        root = tree.fromstring("<a><b k='1'>x</b><b/></a>")
        found = []
        class Links(html.parser.HTMLParser):
            def handle_starttag(self, tag, attributes):
                found.append([tag, dict(attributes).get("href")])
        Links().feed('<p><a href="x">y</a>')
        return {"b": [each.get("k") for each in root.iter("b")], "text": root.find("b").text, "found": found, "escape": html.escape("<&>"), "pretty": xml.dom.minidom.parseString("<a/>").documentElement.tagName}
        """,
        {"b": ["1", None], "text": "x", "found": [["p", None], ["a", "x"]], "escape": "&lt;&amp;&gt;", "pretty": "a"},
    ),
    "email, http and urls": (
        """
        import email, email.message, http.client, http.cookies, io, mimetypes, urllib.parse, urllib.request, urllib.robotparser, ipaddress
        message = email.message.EmailMessage()
        message["Subject"], message["To"] = "é", "a@example.org"
        message.set_content("text")
        message.add_attachment(b"123", maintype="image", subtype="png", filename="a.png")
        again = email.message_from_bytes(bytes(message))
        request = urllib.request.Request("http://example.org/a?b=1", data=b"x", headers={"A": "b"})
        class Fake:
            def makefile(self, *_): return io.BytesIO(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
        response = http.client.HTTPResponse(Fake())
        response.begin()
        connection = http.client.HTTPConnection("example.org", 80, timeout=1)
        return {"parts": [part.get_content_type() for part in again.walk()], "method": request.get_method(), "body": response.read().decode(), "host": connection.host,
                "query": urllib.parse.parse_qs("a=1&a=2&b=%C3%A9"), "join": urllib.parse.urljoin("http://a/b/c", "../d"), "quote": urllib.parse.quote("é /"),
                "type": mimetypes.guess_type("a.png")[0], "net": str(ipaddress.ip_network("10.0.0.0/30")[1]), "cookie": http.cookies.SimpleCookie("a=b")["a"].value}
        """,
        {"parts": ["multipart/mixed", "text/plain", "image/png"], "method": "POST", "body": "hi", "host": "example.org", "query": {"a": ["1", "2"], "b": ["é"]},
         "join": "http://a/d", "quote": "%C3%A9%20/", "type": "image/png", "net": "10.0.0.1", "cookie": "b"},
    ),
    "contextvars": (
        """
        import contextvars, threading
        variable = contextvars.ContextVar("v", default=0)
        context = contextvars.copy_context()
        context.run(variable.set, 5)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(variable.get()))
        variable.set(1)
        thread.start(), thread.join()
        return {"here": variable.get(), "there": context[variable], "thread": seen}
        """,
        {"here": 1, "there": 5, "thread": [0]},
    ),
    "signals": (
        """
        import os, signal, threading, time
        seen = []
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(signal.Signals(number).name))
        signal.signal(signal.SIGALRM, lambda number, frame: seen.append("alarm"))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        signal.alarm(1)
        end = time.monotonic() + 60
        while "alarm" not in seen and time.monotonic() < end:
            time.sleep(0.05)
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1)
        held = len(seen)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        return {"seen": seen, "held": held}
        """,
        {"seen": ["SIGUSR1"] * 3 + ["alarm", "SIGUSR1"], "held": 4},
    ),
    "faulthandler and tracing": (
        """
        import cProfile, faulthandler, io, pstats, resource, sys, tempfile, timeit, trace, traceback, tracemalloc, gc, weakref
        tracemalloc.start()
        kept = [bytes(1000) for _ in range(100)]
        traced = tracemalloc.get_traced_memory()[0] > 100000
        tracemalloc.stop()
        profile = cProfile.Profile()
        profile.runcall(sorted, range(1000))
        out = io.StringIO()
        pstats.Stats(profile, stream=out).print_stats()
        with tempfile.TemporaryFile() as file:
            faulthandler.enable(file)
            faulthandler.dump_traceback(file)
            file.seek(0)
            dumped = b"main" in file.read()
            faulthandler.disable()
        return {"traced": traced, "profile": "sorted" in out.getvalue(), "dumped": dumped, "timed": timeit.timeit("1 + 1", number=1000) > 0, "gc": gc.collect() >= 0,
                "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 15, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1000}
        """,
        {"traced": True, "profile": True, "dumped": True, "timed": True, "gc": True, "files": True, "peak": True},
    ),
    "the system": (
        """
        import getpass, os, platform, shutil, site, sys, sysconfig, time
        return {"system": platform.system(), "python": platform.python_version() == sys.version.split()[0], "cpus": len(os.sched_getaffinity(0)) >= 1 and os.cpu_count() >= 1, "which": shutil.which("no-such-program"),
                "stdlib": os.path.isdir(sysconfig.get_paths()["stdlib"]), "path": os.environ["PATH"] != "", "terminal": [os.isatty(1), tuple(shutil.get_terminal_size())],
                "clock": time.perf_counter() > 0 and time.process_time() >= 0 and time.thread_time() >= 0, "user": os.path.expanduser("~")}
        """,
        {"system": "Linux", "python": True, "cpus": True, "which": None, "stdlib": True, "path": True, "terminal": [False, [80, 24]], "clock": True, "user": "/box/work"},
    ),
    "text and data": (
        """
        import array, bisect, codecs, collections, difflib, heapq, pprint, random, struct, unicodedata, graphlib, types
        generator = random.Random(5)
        return {"array": array.array("d", [1, 2]).tolist(), "bisect": bisect.bisect([1, 3, 5], 4), "rot13": codecs.encode("abc", "rot13"), "most": collections.Counter("aabbb").most_common(1),
                "close": difflib.get_close_matches("appel", ["ape", "apple"]), "heap": heapq.nsmallest(2, [5, 1, 4]), "random": [generator.randint(0, 99) for _ in range(3)],
                "name": unicodedata.name("é"), "order": list(graphlib.TopologicalSorter({"b": {"a"}}).static_order()), "form": pprint.pformat({"b": 1, "a": 2})}
        """,
        {"array": [1.0, 2.0], "bisect": 2, "rot13": "nop", "most": [["b", 3]], "close": ["apple", "ape"], "heap": [1, 4], "random": [79, 32, 94],
         "name": "LATIN SMALL LETTER E WITH ACUTE", "order": ["a", "b"], "form": "{'a': 2, 'b': 1}"},
    ),
}

# Where processes are allowed. None of these starts a program: fork is the start method.
PROCESSES = {
    "fork and pipes": (
        """
        import os
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(w, b"from the child")
            os._exit(7)
        return {"text": os.read(r, 100).decode(), "status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
        """,
        {"text": "from the child", "status": 7},
    ),
    "Process, Queue, Event and Lock": (
        """
        import multiprocessing as mp
        queue, lock, event, total = mp.Queue(), mp.Lock(), mp.Event(), mp.Value("i", 0)
        def work(n):
            event.wait()
            for _ in range(50):
                with total.get_lock():
                    total.value += 1
            with lock:
                queue.put(n)
        processes = [mp.Process(target=work, args=(n,)) for n in range(4)]
        [process.start() for process in processes]
        event.set()
        got = sorted(queue.get() for _ in processes)
        [process.join() for process in processes]
        return {"got": got, "total": total.value, "codes": [process.exitcode for process in processes]}
        """,
        {"got": [0, 1, 2, 3], "total": 200, "codes": [0] * 4},
    ),
    "Pool": (
        """
        import multiprocessing as mp
        with mp.Pool(3) as pool:
            return {"map": pool.map(abs, range(-10, 0)), "apply": pool.apply_async(pow, (2, 5)).get(60), "star": pool.starmap(max, [(1, 2), (4, 3)]),
                    "imap": list(pool.imap_unordered(len, ["aa"] * 5, chunksize=2))}
        """,
        {"map": list(range(10, 0, -1)), "apply": 32, "star": [2, 4], "imap": [2] * 5},
    ),
    "concurrent.futures processes": (
        """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2) as pool:
            return {"map": list(pool.map(abs, [-1, -2, -3])), "error": type(pool.submit(int, "x").exception(60)).__name__}
        """,
        {"map": [1, 2, 3], "error": "ValueError"},
    ),
    "Pipe, Semaphore, Barrier, Condition and Array": (
        """
        import multiprocessing as mp
        here, there = mp.Pipe()
        barrier, array, condition, slots = mp.Barrier(3), mp.Array("d", 3), mp.Condition(), mp.BoundedSemaphore(1)
        def work(n):
            with slots:
                array[n] = n * 1.5
            barrier.wait()
            if n == 1:
                with condition:
                    there.send({"n": n})
                    condition.notify_all()
        processes = [mp.Process(target=work, args=(n,)) for n in (1, 2)]
        with condition:
            [process.start() for process in processes]
            barrier.wait()
            notified = condition.wait(60)
        [process.join() for process in processes]
        return {"array": array[:], "got": here.recv(), "notified": notified, "poll": here.poll(0)}
        """,
        {"array": [0.0, 1.5, 3.0], "got": {"n": 1}, "notified": True, "poll": False},
    ),
    "shared_memory": (
        """
        import multiprocessing as mp
        from multiprocessing import shared_memory
        block = shared_memory.SharedMemory(create=True, size=4096)
        def work():
            again = shared_memory.SharedMemory(block.name)
            again.buf[:3] = b"abc"
            again.close()
        process = mp.Process(target=work)
        process.start(), process.join()
        words = shared_memory.ShareableList(["a", 1, None])
        out = {"bytes": bytes(block.buf[:3]).decode(), "words": list(words)}
        for each in (block, words.shm):
            each.close(), each.unlink()
        return out
        """,
        {"bytes": "abc", "words": ["a", 1, None]},
    ),
}

# Libraries that are not warm: their first import happens in the jail. They look for programs on the way, and do without.
SCIENCE = {
    "numpy": (
        """
        import numpy as np
        a = np.arange(12.0).reshape(3, 4)
        np.save("a.npy", a), np.savetxt("a.txt", a)
        mapped = np.load("a.npy", mmap_mode="r")
        return {"sum": float((a @ a.T).sum()), "solve": np.linalg.solve([[2.0, 1], [1, 3]], [3, 5]).round(9).tolist(), "fft": np.abs(np.fft.fft([1, 0, 0, 0])).tolist(),
                "mapped": float(mapped.sum()), "text": np.loadtxt("a.txt").shape, "random": np.random.default_rng(1).integers(0, 100, 3).tolist(),
                "big": float(np.ones((400, 400)).dot(np.ones((400, 400)))[0, 0]), "sorted": np.sort(np.array(["b", "a"])).tolist()}
        """,
        {"sum": 1134.0, "solve": [0.8, 1.4], "fft": [1.0] * 4, "mapped": 66.0, "text": [3, 4], "random": [47, 51, 75], "big": 400.0, "sorted": ["a", "b"]},
    ),
    "pandas": (
        """
        import pandas as pd
        frame = pd.DataFrame({"k": list("abab"), "v": [1, 2, 3, 4], "t": pd.date_range("2026-01-01", periods=4, tz="Europe/Rome")})
        frame.to_csv("f.csv", index=False)
        again = pd.read_csv("f.csv", parse_dates=["t"])
        import sqlite3
        with sqlite3.connect("f.db") as db:
            frame[["k", "v"]].to_sql("t", db)
            rows = pd.read_sql("select sum(v) as s from t group by k", db)["s"].tolist()
        return {"sums": frame.groupby("k").v.sum().to_dict(), "pivot": frame.pivot_table(index="k", values="v", aggfunc="max").v.tolist(), "rows": rows,
                "merged": len(again.merge(frame, on="k")), "month": int(again.t.dt.month.max()), "rolling": frame.v.rolling(2).mean().dropna().tolist(), "json": frame[["v"]].to_json()}
        """,
        {"sums": {"a": 4, "b": 6}, "pivot": [3, 4], "rows": [4, 6], "merged": 8, "month": 1, "rolling": [1.5, 2.5, 3.5], "json": '{"v":{"0":1,"1":2,"2":3,"3":4}}'},
    ),
    "matplotlib": (
        """
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt, struct, zlib
        figure, axes = plt.subplots(figsize=(4, 3), dpi=100)
        axes.plot([1, 2, 3], [1, 4, 9], label="squares"), axes.set_title("é $x^2$"), axes.legend()
        figure.savefig("plot.png"), figure.savefig("plot.svg")
        data = open("plot.png", "rb").read()
        return {"signature": data[1:4].decode(), "size": struct.unpack(">II", data[16:24]), "drawn": len(set(plt.imread("plot.png").reshape(-1, 4)[:, 0].tolist())) > 20,
                "svg": "</svg>" in open("plot.svg").read()}
        """,
        {"signature": "PNG", "size": [400, 300], "drawn": True, "svg": True},
    ),
}

# What honest libraries try for and do without.
TRIED = {"execve": "programs cannot be started", "vfork": "programs cannot be started", "fork": "processes"}


def script(body):
    return "def main():\n" + textwrap.indent(textwrap.dedent(body), "    ")


def assert_works(server, body, result):
    record = server.run(script(body))
    assert record["status"] == "ok", record["error"]
    assert record["result"] == result
    return record["denied"]


@pytest.fixture(scope="module", params=harness.MODES)
def patient(request, launch):
    """A server whose limits a busy machine does not reach."""
    running = launch("--limits.wall_ms", "300s", "--limits.cpu_ms", "300s", "--limits.memory_bytes", "1GiB", user=request.param == "user")
    yield running
    running.stop()


@pytest.mark.parametrize("body, result", ORDINARY.values(), ids=ORDINARY)
def test_ordinary(patient, body, result):
    assert assert_works(patient, body, result) == []


@pytest.mark.parametrize("body, result", PROCESSES.values(), ids=PROCESSES)
def test_processes(patient, body, result):
    if patient.can_fork:
        assert assert_works(patient, body, result) == []
        return
    record = patient.run(script(body))
    assert record["status"] == "script_error"
    assert "processes" in " ".join(each["hint"] for each in record["denied"]), record["denied"]


@pytest.mark.skipif(harness.PYTHON is not None, reason="Debian's numpy, pandas and matplotlib are for Debian's python3")
@pytest.mark.parametrize("body, result", SCIENCE.values(), ids=SCIENCE)
def test_science(patient, body, result):
    for each in assert_works(patient, body, result):
        assert each["what"] in TRIED, each
