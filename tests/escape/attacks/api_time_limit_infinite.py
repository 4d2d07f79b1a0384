"""Asks for a time limit of 1e309."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", b'{"script": "def main(): return {}", "limits": {"wall_ms": 1e309}}', headers={"Content-Type": "application/json"})
    return None if answer.status in (400,) else f"answered {answer.status}: {answer.body[:100]!r}"
