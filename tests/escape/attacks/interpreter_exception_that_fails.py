"""Raises an exception whose text, class and module fail."""
CLASS = "the interpreter"
RIGHT = "S"
STOPS = {}

SENT = "class E(BaseException):\n    def __str__(self): raise self\n    def __getattribute__(self, name): raise MemoryError\n    __module__ = property(lambda self: 1 / 0)\ndef main():\n    raise E\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "memory_limit") else f"ended as {record['status']}"
