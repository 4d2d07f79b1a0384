# with _report.py
"""Says itself, by a system call, what the jail's code says once the report is written: the run has ended, and well."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("exited", "script_error")  # nobody is asked for it where another tool makes the jail
STOPS = {"front": "no report, no result"}


def main():
    say_the_end()
    return {"honest": True}


def around(server, world):
    record = yield {}
    return "a success without a report" if record["status"] == "ok" and record["result"] != {"honest": True} else None
