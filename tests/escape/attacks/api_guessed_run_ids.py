"""Guesses the ids of others' runs from its own: one bit further, one number further."""
CLASS = "the API"
RIGHT = "N"
STOPS = {}


def request(server, world):
    ids = [server.start("def main():\n    return {}") for _ in range(4)]
    for run in ids:
        server.wait_over(run)
    if len(set(ids)) != len(ids):
        return f"an id twice: {ids}"
    for run in ids[:1]:  # each answer is held against the server's own document, which takes its time
        for at in range(0, len(run), 3):
            for other in "0f":
                guess = run[:at] + other + run[at + 1:]
                if guess in ids:
                    continue
                answer = server.request("GET", f"/v1/runs/{guess}")
                if answer.status != 404:
                    return f"{guess} was answered with {answer.status}"
    return None
