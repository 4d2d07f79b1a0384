"""Ends the process with status 0 from inside of main(): "it exited well" is all that a careless server looks at."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("exited",)
STOPS = {"front": "no report, no result"}


def main():
    os._exit(0)


def around(server, world):
    record = yield {}
    return "a success without a result" if record["status"] == "ok" else None
