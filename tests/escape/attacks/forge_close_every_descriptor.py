"""Closes every descriptor, the channel too, and returns."""
CLASS = "forged result or status"
RIGHT = "S"
STOPS = {"front": "no report, no result", "facts": "the exit status says that there was no channel"}


def main():
    os.closerange(0, 64)
    return {"through": "a result without a channel"}


def around(server, world):
    record = yield {}
    return "a success without a result" if record["status"] == "ok" else None
