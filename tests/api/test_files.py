"""CONTRACT.md section 3: files that come back. What a script leaves is followed nowhere, whatever it is."""
import base64
import zlib

import pytest

from harness import MIB, PYTHON


def returned(record):
    return {each["path"]: base64.b64decode(each["content"], validate=True) for each in record["files"]}


@pytest.mark.skipif(PYTHON is not None, reason="Debian's matplotlib is for Debian's python3")
def test_a_plot(server):
    """matplotlib as people use it: nothing said of a backend, the picture is a file."""
    record = server.run(
        """
        import matplotlib.pyplot as plt
        import numpy as np
        def main():
            x = np.linspace(0, 6, 200)
            figure, axes = plt.subplots(figsize=(4, 3))
            axes.plot(x, np.sin(x), label="sin")
            axes.set_title("a wave: é ☃")
            axes.legend()
            figure.savefig("wave.png", dpi=50)
            return {"backend": plt.get_backend().lower()}
        """,
        return_files=["*.png"],
    )
    assert record["status"] == "ok", record["error"]
    assert record["result"] == {"backend": "agg"}
    picture = returned(record)["wave.png"]
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture.endswith(b"IEND\xaeB`\x82")
    header = picture[8:33]
    assert header[4:8] == b"IHDR" and int.from_bytes(header[21:25], "big") == zlib.crc32(header[4:21])
    assert (int.from_bytes(header[8:12], "big"), int.from_bytes(header[12:16], "big")) == (200, 150)


def test_as_many_files_as_may_be_returned(server):
    script = "def main(n):\n    for i in range(n):\n        open(f'{i:03}', 'w').write(str(i))\n    return {'n': n}\n"
    record = server.run(script, input=100, return_files=["*"])
    assert record["status"] == "ok"
    assert [each["path"] for each in record["files"]] == [f"{i:03}" for i in range(100)]
    for n in (101, 3000):
        record = server.run(script, input=n, return_files=["*"])
        assert (record["status"], record["result"], record["files"]) == ("output_limit", None, [])
        assert record["error"]["message"] == "return_files limit exceeded: 100 files"
    answer = server.execute(script, input=101, return_files=["*"])
    assert (answer.status, answer.error) == (400, "return_files limit exceeded: 100 files")


def test_a_script_that_fails_still_returns_its_files(server):
    record = server.run("def main():\n    open('log', 'w').write('so far')\n    1 / 0\n", return_files=["*"])
    assert record["status"] == "script_error"
    assert returned(record) == {"log": b"so far"}


def test_one_that_is_killed_returns_none(server):
    record = server.run("import os\ndef main():\n    open('log', 'w').write('x')\n    os._exit(1)\n", return_files=["*"])
    assert (record["status"], record["files"]) == ("exited", [])


@pytest.mark.parametrize("size", (7 * MIB, 60 * MIB, 1 << 50))
def test_sparse_files(server, size):
    """What is only a size takes no memory that its bytes would not have had."""
    record = server.run(
        f"import os\ndef main():\n    fd = os.open('big', os.O_CREAT | os.O_RDWR)\n    os.truncate(fd, {size})\n    return {{}}\n", return_files=["*"]
    )
    if size == 7 * MIB:
        assert record["status"] == "ok" and returned(record)["big"] == bytes(size)
    elif size == 60 * MIB:
        assert (record["status"], record["error"]["message"]) == ("output_limit", "result limit exceeded: 8 MiB")
    else:
        assert (record["status"], record["error"]["type"]) in (("disk_limit", "OSError"), ("disk_limit", "disk_limit"))
    server.assert_serves()


def test_what_is_no_regular_file(server):
    record = server.run(
        """
        import os, socket, stat
        def main():
            made = []
            def attempt(name, call, *args):
                try:
                    call(*args)
                    made.append(name)
                except OSError:
                    pass
            attempt("null", os.mknod, "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            attempt("disk", os.mknod, "disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))
            attempt("linked", os.link, "/dev/null", "linked")
            attempt("fifo", os.mkfifo, "fifo")
            attempt("socket", lambda: socket.socket(socket.AF_UNIX).bind("socket"))
            attempt("directory", os.mkdir, "directory")
            attempt("symlink", os.symlink, "regular", "symlink")
            open("regular", "w").write("1")
            return {"made": made}
        """,
        return_files=["*", "**/*"],
    )
    assert record["status"] == "ok", record["error"]
    assert returned(record) == {"regular": b"1"}
    assert not {"null", "disk", "linked"} & set(record["result"]["made"])


def test_names_that_cannot_be_told(server):
    record = server.run(
        """
        import os
        def main():
            open(b"\\xff\\xfe", "w").write("no text")
            open("new\\nline \\x01 é", "w").write("odd")
            os.makedirs("/".join("d" * 20))
            open("/".join("d" * 20) + "/deep", "w").write("too deep")
            open("x" * 255, "w").write("long")
            open("secret", "w").write("unreadable")
            os.chmod("secret", 0)
            return {}
        """,
        return_files=["*", "**/*"],
    )
    assert record["status"] == "ok", record["error"]
    assert returned(record) == {"new\nline \x01 é": b"odd", "x" * 255: b"long"}


PATTERNS = {
    "*": {"a", "b.txt"},
    "**": {"a", "b.txt", "d/c", "d/e/f"},
    "**/*": {"a", "b.txt", "d/c", "d/e/f"},
    "*/*": {"d/c"},
    "d/**/f": {"d/e/f"},
    "d/**": {"d/c", "d/e/f"},
    "[ab]*": {"a", "b.txt"},
    "?": {"a"},
    "[!a]*": {"b.txt"},
    ".*": {".hidden"},
    ".d/*": {".d/g"},
    "d": set(),
    "A": set(),
    "*" * 200 + "z": set(),
}


@pytest.mark.parametrize("pattern, expected", PATTERNS.items(), ids=PATTERNS)
def test_patterns(server, pattern, expected):
    files = {"a": "", "b.txt": "", "d/c": "", "d/e/f": "", ".hidden": "", ".d/g": ""}
    assert set(returned(server.run("def main():\n    return {}\n", files=files, return_files=[pattern]))) == expected


def test_a_directory_that_is_moved_while_it_is_read(server):
    """A thread that goes on after main() swaps files for links under the walk: only ever files of its own come back."""
    record = server.run(
        """
        import os, threading
        def swap():
            while True:
                try:
                    os.rename("d", "e"); os.symlink("/usr/lib", "d"); os.unlink("d"); os.rename("e", "d")
                    os.unlink("d/f"); os.symlink("/usr/bin/python3", "d/f"); os.unlink("d/f"); open("d/f", "w").write("own")
                except OSError:
                    pass
        def main():
            os.mkdir("d")
            open("d/f", "w").write("own")
            threading.Thread(target=swap, daemon=True).start()
            return {}
        """,
        return_files=["**/*"],
    )
    assert record["status"] == "ok", record["error"]
    assert set(returned(record).values()) <= {b"own", b""}
