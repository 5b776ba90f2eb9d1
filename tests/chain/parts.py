"""The chain, part by part, on a real S3 server: any part can be killed and started again while requests run."""

import os
import re
import select
import signal
from collections.abc import Callable
from pathlib import Path

import yaml
from harness import programs, secrets
from harness.cgroup import Cgroup
from harness.client import answers, send
from harness.envoy import Envoy
from harness.paths import ROOT
from harness.ports import free_ports, moved
from harness.processes import Process, children_of
from harness.s3 import S3Server
from harness.standin import Standin
from harness.waiting import eventually
from varnish import varnish


class Parts:
    """Client → Envoy with the filter → Varnish → backend → stand-in, the S3 server, and the broadcaster beside them."""

    def __init__(self, folder: Path, within: Cgroup | None = None, varnish: dict[str, str] | None = None, **backend: str) -> None:
        """The backend runs within a control group; it and Varnish have these variables."""
        self._folder, self._within, self._varnish, self._backend = folder, within, varnish or {}, backend
        folder.mkdir(exist_ok=True)
        self._starts = 0
        self._running: dict[str, Process] = {}
        self.s3 = S3Server(folder / "s3")
        self.standin = Standin(folder / "standin")
        ports = free_ports(5)
        self.backend_port, self.varnish_port, self.broadcaster_port, self.envoy_port, self._admin_port = ports
        for name in self.names():
            self.start(name)

    @staticmethod
    def names() -> tuple[str, ...]:
        """The parts between the client and the upstream, from the back to the front."""
        return ("backend", "varnish", "broadcaster", "envoy")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.envoy_port}"

    @property
    def broadcaster_url(self) -> str:
        return f"http://127.0.0.1:{self.broadcaster_port}"

    def start(self, name: str) -> None:
        """Starts a part and waits until it answers."""
        self._starts += 1
        folder = self._folder / f"{name}-{self._starts}"
        folder.mkdir()
        starters: dict[str, Callable[[Path], Process]] = {
            "backend": self._start_backend,
            "varnish": self._start_varnish,
            "broadcaster": self._start_broadcaster,
            "envoy": self._start_envoy,
        }
        self._running[name] = starters[name](folder)

    def kill(self, name: str) -> None:
        """SIGKILL, as when a node runs out of memory."""
        assert name not in self.ended(), f"{name} has ended by itself"
        self._keep_metrics(name)
        process = self._running.pop(name)
        children = [os.pidfd_open(pid) for pid in children_of(process.pid)]
        process.kill()
        for child in children:
            signal.pidfd_send_signal(child, signal.SIGKILL)
            # On a busy machine it takes its time to die, and until then it listens where the next one will.
            select.select([child], [], [], programs.START_SECONDS)
            os.close(child)

    def stop(self) -> None:
        for name, process in reversed(self._running.items()):
            self._keep_metrics(name)
            process.stop()
        self.standin.stop()
        self.s3.stop()

    @property
    def backend_url(self) -> str:
        return f"http://127.0.0.1:{self.backend_port}"

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def ended(self) -> list[str]:
        """The parts that have ended by themselves."""
        return [name for name, process in self._running.items() if process.exit_code is not None]

    def written(self) -> int:
        """Vectors that the backend has written to the bucket since it was started."""
        metrics = send(self.backend_url, "GET", "/metrics").body.decode()
        found = re.search(r'store_operations_total\{operation="put",result="ok"\} (\d+)', metrics, re.IGNORECASE)
        return int(found[1]) if found else 0

    def _keep_metrics(self, name: str) -> None:
        urls = {"backend": self.backend_url, "broadcaster": self.broadcaster_url}
        if name in urls:
            programs.keep_metrics(self._running[name], urls[name])

    def _start_backend(self, folder: Path) -> Process:
        variables = secrets.talkative | self.s3.variables(
            PATH=os.environ["PATH"],
            LISTEN=f"127.0.0.1:{self.backend_port}",
            OPENAI_BASE_URL=f"{self.standin.url}/v1",
            ALLOW_ANONYMOUS_PURGE="true",
            # Refusals of a rate are the client's own here.
            RATE_WAIT="0s",
            **self._backend,
        )
        command = self._within.command(programs.GATEWAY) if self._within else [programs.GATEWAY]
        process = Process(command, folder / "backend.log", env=variables)
        return self._ready(process, self.backend_url)

    def _start_varnish(self, folder: Path) -> Process:
        folder.chmod(0o755)
        started = varnish.start(folder, self.backend_port, port=self.varnish_port, **self._varnish)
        self.varnish_work_dir = started.work_dir
        return started.process

    def _start_broadcaster(self, folder: Path) -> Process:
        variables = secrets.talkative | {
            "PATH": os.environ["PATH"],
            "LISTEN": f"127.0.0.1:{self.broadcaster_port}",
            "VARNISH_SERVICE": f"127.0.0.1:{self.varnish_port}",
            "BACKEND_SERVICE": f"127.0.0.1:{self.backend_port}",
            "ALLOW_ANONYMOUS_PURGE": "true",
        }
        process = Process([programs.BROADCASTER], folder / "broadcaster.log", env=variables)
        return self._ready(process, self.broadcaster_url)

    def _start_envoy(self, folder: Path) -> Process:
        # The laptop's configuration with the ports of this run, as scripts/run.sh makes it.
        ports = {8080: self.envoy_port, 6081: self.varnish_port, 9901: self._admin_port}
        return Envoy(yaml.safe_load(moved((ROOT / "envoy/gateway.yaml").read_text(), ports)), folder).process

    @staticmethod
    def _ready(process: Process, url: str) -> Process:
        def is_ready() -> bool:
            assert process.exit_code is None, process.log_text()
            return answers(url, "/readyz")

        eventually(is_ready, programs.START_SECONDS, f"{process.log.name}: ready")
        return process
