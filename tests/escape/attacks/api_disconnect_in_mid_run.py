"""Goes away while its script computes, which must then end."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    import json, time
    with server.wire() as wire:
        body = json.dumps({"script": "def main():\n    while True: pass\n"}).encode()
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        time.sleep(0.5)
    answer = server.execute("def main():\n    return {}\n")
    return None if answer.status == 200 else f"answered {answer.status}"
