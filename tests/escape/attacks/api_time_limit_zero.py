"""Asks for a time limit of 0."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", b'{"script": "def main(): return {}", "limits": {"wall_ms": 0}}', headers={"Content-Type": "application/json"})
    return None if answer.status in (400,) else f"answered {answer.status}: {answer.body[:100]!r}"
