"""Asks for more than the server gives."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", b'{"script": "def main(): return {}", "limits": {"memory_bytes": 1099511627776}}', headers={"Content-Type": "application/json"})
    return None if answer.status in (400,) else f"answered {answer.status}: {answer.body[:100]!r}"
