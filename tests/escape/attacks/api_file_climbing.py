"""A file that climbs out of the working directory."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    answer = server.request("POST", "/execute", ('{"script": "def main(): return {}", "files": {"' + "../x" + '": "x"}}').encode(), headers={"Content-Type": "application/json"})
    return None if answer.status in (400,) else f"answered {answer.status}: {answer.body[:100]!r}"
