"""Ports of loopback for those who must be told where to listen."""

import random
import re
import socket
from collections import deque
from pathlib import Path

_FIRST = 10_000
# Above, the kernel takes a port for a client's connection whenever it likes.
_CLIENTS = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
# More ports than a test asks for before the first of them is listened on.
_CLAIMED = 256
# Not the random numbers of a test that wants the same ones every time.
_random = random.SystemRandom()
# Sockets whose names say which ports are given away: other sessions on this machine see them, and they end with this one.
_claims: deque[socket.socket] = deque()


def free_ports(count: int) -> list[int]:
    """This many different ones that no other program listens on, no client gets by chance, and no other test is given meanwhile."""
    return [_claimed() for _ in range(count)]


def _claimed() -> int:
    while True:
        port = _random.randrange(_FIRST, _CLIENTS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0free port {port} is claimed")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        if len(_claims) > _CLAIMED:
            _claims.popleft().close()
        return port


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def replacements(*named: int) -> dict[int, int]:
    """A free port in place of each of these."""
    return dict(zip(named, free_ports(len(named)), strict=True))


def moved(text: str, ports: dict[int, int]) -> str:
    """A configuration or command with other ports in place of those that it names."""
    return re.sub(rf"\b({'|'.join(map(str, ports))})\b", lambda named: str(ports[int(named[0])]), text)
