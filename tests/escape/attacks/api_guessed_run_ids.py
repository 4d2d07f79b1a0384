"""Guesses the ids of others' runs from its own: one bit further, one number further."""
CLASS = "the API"
RIGHT = "N"
STOPS = {}


def request(server, world):
    ids = [server.start("def main():\n    return {}") for _ in range(4)]
    for run in ids:
        server.wait_over(run)
    strings = [each if isinstance(each, str) else str(each) for each in ids]
    if len(set(strings)) != len(strings):
        return f"an id twice: {strings}"
    for run in strings:
        for at in range(len(run)):
            for other in "0f":
                guess = run[:at] + other + run[at + 1:]
                if guess in strings:
                    continue
                answer = server.request("GET", f"/v1/runs/{guess}")
                if answer.status != 404:
                    return f"{guess} was answered with {answer.status}"
    return None
