"""varnishd as `start.sh` starts it, in front of a backend that counts."""

import os
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.client import Answer, send
from harness.paths import ROOT
from harness.ports import free_port
from harness.processes import Process, children_of, memory_bytes
from harness.waiting import eventually

VCL = ROOT / "kustomize/components/varnish"
# A busy machine needs seconds to compile the VCL.
START_SECONDS = 30
EMBEDDINGS = "/v1/embeddings"


def body_hash(number: int) -> str:
    """A well-formed hash for each number: Varnish does not compare it with the body."""
    return f"{number:064x}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_) -> None:
        """A client that leaves in mid-request is part of the tests, and no news."""


class Backend:
    """Answers everything with 200 and as many bytes as `X-Answer-Bytes` asks for; says how often it was asked.

    `X-Answer-Pause` is how many seconds it waits between the headers and the body.
    """

    def __init__(self) -> None:
        self.asked = 0
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path != "/readyz":
                    backend.asked += 1
                self.send_response(200)
                self.send_header("Cache-Control", "max-age=3600")
                self.send_header("Surrogate-Key", self.headers.get("X-Answer-Tags", "model:m"))
                self.send_header("Content-Length", self.headers.get("X-Answer-Bytes", "2"))
                self.end_headers()
                time.sleep(float(self.headers.get("X-Answer-Pause", "0")))
                self.wfile.write(b"x" * int(self.headers.get("X-Answer-Bytes", "2")))

            do_GET = do_POST = answer

            def log_message(self, *_) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Varnish:
    """A running varnishd: its port, and what it says of itself."""

    url: str
    port: int
    work_dir: Path
    process: Process

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        return send(self.url, method, path, body, headers)

    def embed(self, number: int = 0, headers: dict[str, str] | None = None) -> Answer:
        """A request for embeddings whose body hash is `number`."""
        return self.request("POST", EMBEDDINGS, {"X-Body-Hash": body_hash(number)} | (headers or {}), b"{}")

    def counter(self, name: str) -> int:
        said = subprocess.run(
            ["varnishstat", "-n", self.work_dir, "-1", "-f", name], check=True, capture_output=True, text=True, timeout=60
        )
        return int(said.stdout.split()[1])

    def admin(self, *command: str) -> str:
        done = subprocess.run(
            ["varnishadm", "-n", self.work_dir, *command], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def resident_bytes(self) -> int:
        """Resident memory of the process that serves, the one child of the one that was started."""
        (child,) = children_of(self.process.pid)
        return memory_bytes(child)


def start(
    folder: Path,
    backend_port: int,
    listen: str = "127.0.0.1",
    port: int = 0,
    backend_vcl: str | None = None,
    by: tuple[str, ...] = (),
    **environment: str,
) -> Varnish:
    """Starts varnishd and waits until it answers; `backend_vcl` stands in place of the one backend, `by` before the command."""
    # A copy: started by root, varnishd compiles its VCL as another user, which may not read this checkout.
    shutil.copytree(VCL, folder, dirs_exist_ok=True)
    folder.chmod(0o755)
    port = port or free_port()
    local = (VCL / "backend.local.vcl").read_text().replace("@PORT@", str(backend_port))
    (folder / "backend.vcl").write_text(backend_vcl or local)
    work_dir = folder / "work"
    authority = f"[{listen}]:{port}" if ":" in listen else f"{listen}:{port}"
    settings = {"LISTEN": authority, "WORK_DIR": str(work_dir), "VCL_PATH": str(folder)}
    process = Process([*by, folder / "start.sh"], folder / "varnish.log", env=os.environ | settings | environment)

    def listens() -> bool:
        assert process.exit_code is None, process.log_text()
        try:
            socket.create_connection((listen, port), START_SECONDS).close()
            return True
        except ConnectionRefusedError:
            return False

    eventually(listens, START_SECONDS, "varnishd listens")
    return Varnish(f"http://{authority}", port, work_dir, process)
