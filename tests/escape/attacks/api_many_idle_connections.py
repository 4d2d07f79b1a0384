"""Opens hundreds of connections and says nothing."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    wires = []
    try:
        for _ in range(300):
            wires.append(server.wire())
        answer = server.execute("def main():\n    return {}\n")
        return None if answer.status == 200 else f"answered {answer.status}"
    finally:
        for wire in wires:
            wire.close()
