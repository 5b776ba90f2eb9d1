"""Ports of loopback for those who must be told where to listen."""

import re
import socket


def free_ports(count: int) -> list[int]:
    """This many different ones that nobody listens on, as far as one can know."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def replacements(*named: int) -> dict[int, int]:
    """A free port in place of each of these."""
    return dict(zip(named, free_ports(len(named)), strict=True))


def moved(text: str, ports: dict[int, int]) -> str:
    """A configuration or command with other ports in place of those that it names."""
    return re.sub(rf"\b({'|'.join(map(str, ports))})\b", lambda named: str(ports[int(named[0])]), text)
