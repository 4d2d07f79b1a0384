"""Nests a hundred thousand levels."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", b'{"script": "", "input": ' + b'[' * 100000 + b']' * 100000 + b'}', headers={"Content-Type": "application/json"})
    return None if answer.status in (400,) else f"answered {answer.status}: {answer.body[:100]!r}"
