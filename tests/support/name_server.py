"""A DNS server with the addresses of one name, in a network of its own that only root of a namespace makes.

``python -m tests.support.name_server NAME ADDRESS… -- COMMAND…`` brings loopback up, answers on 127.0.0.53 for the
command, and ends with its status. /etc/resolv.conf has to name that address.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence

# Linux, netdevice(7): set the flags of an interface; up and running.
_SIOCSIFFLAGS = 0x8914
_UP = 0x1 | 0x40
_A = 1


def loopback_up() -> None:
    """A new network has a loopback interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))


def answer(query: bytes, name: str, addresses: Sequence[str]) -> bytes:
    """The answer to a query (RFC 1035 section 4): an A record for each address, nothing for other types or names."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    asked = question[:-4].lower() == labels
    found = addresses if asked and struct.unpack("!H", question[-4:-2])[0] == _A else ()
    # Authoritative, recursion as asked; NXDOMAIN (3) for another name.
    flags = 0x8580 | (0 if asked else 3)
    header = query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
    records = (b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 5, 4) + socket.inet_aton(one) for one in found)
    return header + question + b"".join(records)


def serve(server: socket.socket, name: str, addresses: Sequence[str]) -> None:
    """Answer until the process ends."""
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer(query, name, addresses), client)


def main(name: str, *words: str) -> int:
    """Run the command beside the server; its exit status."""
    split = words.index("--")
    loopback_up()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.53", 53))
        threading.Thread(target=serve, args=(server, name, words[:split]), daemon=True).start()
        return subprocess.run(words[split + 1 :], check=False, timeout=100).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
