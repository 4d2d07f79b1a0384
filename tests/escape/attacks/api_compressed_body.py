"""Sends a compressed body."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", b"\x1f\x8b" + b"\0" * 100, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    return None if answer.status in (400, 415) else f"answered {answer.status}: {answer.body[:100]!r}"
