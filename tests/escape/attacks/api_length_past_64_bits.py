"""Sends a length that overflows."""
CLASS = "the API"
RIGHT = "R"
STOPS = {}


def request(server, world):
    with server.wire() as wire:
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 18446744073709551618\r\n\r\n{}")
        answer = wire.answer()
        if answer is None or answer.status not in (400, 413):
            return f"answered {answer and answer.status}"
        return None if wire.closed() and not wire.rest else "the connection goes on: what follows could be another's request"
