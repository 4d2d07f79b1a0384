"""An exception whose text, class name and module end the process while they are being reported."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("exited", "script_error")
STOPS = {"front": "no report, no result"}


class Hostile(type):
    __module__ = property(lambda self: os._exit(0))
    __name__ = property(lambda self: os._exit(0))


class Trap(Exception, metaclass=Hostile):
    def __str__(self):
        os._exit(0)

    __repr__ = __str__


def main():
    raise Trap


def around(server, world):
    record = yield {}
    return "a success without a result" if record["status"] == "ok" else None
