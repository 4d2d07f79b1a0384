"""Asks by netlink for the routes of the host."""
CLASS = "network: all but TCP and abstract sockets"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "namespaces": "an empty network"}
SINGLE = "rule sets do not cover netlink"


def main(world):
    import socket, struct
    def ask():
        link = socket.socket(16, socket.SOCK_RAW, 0)
        link.send(struct.pack("IHHII", 20, 22, 0x301, 1, 0) + b"\0" * 4)  # RTM_GETADDR, all
        addresses = 0
        while True:
            data = link.recv(65536)
            while data:
                length, kind = struct.unpack("IH", data[:6])
                if kind == 3:
                    return addresses or os.stat("/nowhere")
                addresses, data = addresses + 1, data[(length + 3) & ~3:]
    return attempt(ask)
