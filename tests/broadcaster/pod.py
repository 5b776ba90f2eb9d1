"""What a broadcaster does in a Pod: run as `unshare --net --mount python -m broadcaster.pod FOLDER`, prints one JSON object.

A network of its own has port 53 to give, and mounts of its own an /etc/hosts and /etc/resolv.conf as the kubelet writes them.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .broadcaster import Broadcaster
from .zone import Zone

# Of linux/sockios.h and net/if.h.
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
VARNISH_PORT, BACKEND_PORT = 6081, 8080
PODS = ("127.0.0.1", "127.0.0.2", "::1")
RESOLV_CONF = """search ns.svc.cluster.test svc.cluster.test cluster.test
nameserver 127.0.0.1
options ndots:5
"""
HOSTS = """127.0.0.1 localhost
127.0.0.2 varnish-in-hosts other
127.0.0.1 Varnish-in-Hosts
::1 varnish-in-hosts
"""
SERVICES = (
    "varnish-headless",
    "varnish-headless.ns",
    "varnish-headless.ns.svc.cluster.test",
    "varnish-headless.ns.svc.cluster.test.",
    "varnish-in-hosts",
    "varnish-nowhere",
)


class Purged(ThreadingHTTPServer):
    """Says that it purged, and what it was called."""

    def __init__(self, address: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        class Handler(BaseHTTPRequestHandler):
            def do_PURGE(self) -> None:
                body = json.dumps({"pod": f"{self.headers['Host']}@{address}"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        super().__init__((address, port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def furnish(folder: Path) -> None:
    """A loopback that is up, and the two files."""
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
    for name, text in (("resolv.conf", RESOLV_CONF), ("hosts", HOSTS)):
        (folder / name).write_text(text)
        subprocess.run(["mount", "--bind", folder / name, f"/etc/{name}"], check=True)


def ask(folder: Path, zone: Zone, service: str) -> dict:
    """One purge by that name: its status, the pods, and what the name server was asked."""
    folder.mkdir()
    zone.asked.clear()
    # Empty counts as absent.
    own = {"DNS_SERVERS": "", "VARNISH_SERVICE": f"{service}:{VARNISH_PORT}", "BACKEND_SERVICE": f"127.0.0.1:{BACKEND_PORT}"}
    broadcaster = Broadcaster(folder, zone, VARNISH_PORT, **own)
    said = broadcaster.purge()
    broadcaster.stop()
    return {"status": said.status, "pods": [result["pod"] for result in said.json["results"]], "asked": sorted(set(zone.asked))}


def main() -> None:
    folder = Path(sys.argv[1])
    furnish(folder)
    zone = Zone(*PODS, name="varnish-headless.ns.svc.cluster.test.", port=53)
    servers = [Purged("127.0.0.1", BACKEND_PORT), *(Purged(address, VARNISH_PORT) for address in PODS)]
    print(json.dumps({service: ask(folder / service, zone, service) for service in SERVICES}))
    for server in servers:
        server.shutdown()


if __name__ == "__main__":
    main()
