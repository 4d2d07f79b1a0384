"""Names the script twice, so that a check and the run could read different ones."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", b'{"script": "x=1", "script": "def main(): return {}"}', headers={"Content-Type": "application/json"})
    return None if answer.status in (400,) else f"answered {answer.status}: {answer.body[:100]!r}"
