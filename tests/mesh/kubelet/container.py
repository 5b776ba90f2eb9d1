"""One container of a Pod over its whole life: started, probed, restarted, told to end; and its part of the Pod's status."""

import threading
import time
from pathlib import Path

from kubelet.api import ApiError
from kubelet.environment import CannotConfigure, environment
from kubelet.images import Images
from kubelet.probe import Place, Probe, ask
from kubelet.process import ContainerProcess, Identity
from kubelet.sandbox import Sandbox
from kubelet.volumes import Volumes

# How long a container that cannot be configured waits until the next try.
CONFIGURE_SECONDS = 1.0
# As the real one: the first restart at once, then longer and longer.
BACKOFF_SECONDS = (0, 10, 20, 40, 80, 160, 300)
# How often a wait for a container's end looks whether it has begun anew.
JOIN_SECONDS = 0.2
# What a hook that ends a container may take when its Pod is restarted, not deleted.
HOOK_SECONDS = 30


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Room:
    """What the containers of one Pod have in common."""

    def __init__(self, api, pod: dict, images: Images, sandbox: Sandbox, volumes: Volumes, folder: Path, logs: Path) -> None:
        self.api, self.pod, self.images = api, pod, images
        self.sandbox, self.volumes, self.folder, self.logs = sandbox, volumes, folder, logs
        # Set whenever a container's state changes.
        self.changed = threading.Event()

    def log_of(self, container: str) -> Path:
        metadata = self.pod["metadata"]
        return self.logs / f"{metadata['namespace']}_{metadata['name']}_{container}.log"


class Container(threading.Thread):
    """Runs until it may not be restarted or is told to stop."""

    def __init__(self, room: Room, spec: dict, restart_policy: str) -> None:
        super().__init__(daemon=True, name=spec["name"])
        self.spec, self._room, self._policy = spec, room, restart_policy
        ports = {port["name"]: port["containerPort"] for port in spec.get("ports", []) if "name" in port}
        self._place = Place(room.sandbox.address, ports)
        self.ready = self.started = False
        self.exit_code: int | None = None
        self.restarts = 0
        self.state: dict = {"waiting": {"reason": "ContainerCreating"}}
        self._last_state: dict = {}
        self._process: ContainerProcess | None = None
        self._probes: list[Probe] = []
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._process = self._launch()
            except (CannotConfigure, ApiError) as error:
                self._become({"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}})
                self._stopping.wait(CONFIGURE_SECONDS)
                continue
            except KeyError as error:
                self._become({"waiting": {"reason": "ErrImagePull", "message": f"nothing stands for {error}"}})
                return
            self._live_through()
            if not self._restarts_after(self.exit_code):
                return
            self._back_off()

    def stop(self, seconds: float) -> None:
        """The hook before the end, SIGTERM, and SIGKILL when `seconds` are over; returns when it has ended."""
        deadline = time.monotonic() + seconds
        self._stopping.set()
        told = self._process
        if self.is_alive() and told:
            self._end(told, deadline)
        while self.is_alive():
            self.join(JOIN_SECONDS)
            # One that was just being started heard nothing of it.
            if self._process and (self._process is not told or time.monotonic() > deadline):
                self._process.kill()

    def kill(self) -> None:
        self.stop(0)

    def execute(self, command: list[str], timeout: float):
        """Runs a command inside, as `kubectl exec` would."""
        return self._process.run(command, timeout)

    def status(self) -> dict:
        """This container's entry of `containerStatuses`."""
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self._last_state,
        }

    def _launch(self) -> ContainerProcess:
        room, spec = self._room, self.spec
        try:
            image = room.images.pull(spec["image"])
        except KeyError:
            raise KeyError(spec["image"]) from None
        variables = environment(room.api, room.pod, spec, room.sandbox.address, image.environment)
        identity = Identity.of(room.pod, spec, image)
        mounts = room.volumes.mounts_of(spec, variables)
        folder, log = room.folder / spec["name"], room.log_of(spec["name"])
        return ContainerProcess(room.sandbox, image, spec, identity, variables, mounts, folder, log)

    def _live_through(self) -> None:
        """From the start to the end of one process."""
        started_at = now()
        self._become({"running": {"startedAt": started_at}})
        hook = self.spec.get("lifecycle", {}).get("postStart")
        if hook and not ask(hook, self._process, self._place, HOOK_SECONDS):
            self._process.kill()
        self._watch_start()
        self.exit_code = self._process.wait()
        for probe in self._probes:
            probe.stop()
        self._probes = []
        self.ready = self.started = False
        reason = "Completed" if self.exit_code == 0 else "Error"
        ended = {"exitCode": self.exit_code, "reason": reason, "startedAt": started_at, "finishedAt": now()}
        self._become({"terminated": ended})

    def _restarts_after(self, code: int) -> bool:
        return not self._stopping.is_set() and (self._policy == "Always" or (self._policy == "OnFailure" and code != 0))

    def _back_off(self) -> None:
        pause = BACKOFF_SECONDS[min(self.restarts, len(BACKOFF_SECONDS) - 1)]
        self._last_state = self.state
        self.restarts += 1
        if pause:
            self._become({"waiting": {"reason": "CrashLoopBackOff"}})
        self._stopping.wait(pause)

    def _watch_start(self) -> None:
        if "startupProbe" in self.spec:
            self._probe("startupProbe", None, self._on_startup)
        else:
            self._on_startup(True)

    def _on_startup(self, success: bool) -> None:
        if not success:
            return self._restart("startup")
        self.started = True
        if "livenessProbe" in self.spec:
            self._probe("livenessProbe", True, lambda alive: alive or self._restart("liveness"))
        if "readinessProbe" in self.spec:
            self._probe("readinessProbe", False, self._on_readiness)
        else:
            self.ready = True
        self._room.changed.set()

    def _on_readiness(self, ready: bool) -> None:
        self.ready = ready
        self._room.changed.set()

    def _restart(self, probe: str) -> None:
        with open(self._room.log_of(self.spec["name"]), "a") as log:
            log.write(f"[kubelet] {probe} probe failed: the container is restarted\n")
        self._end(self._process, time.monotonic() + self._room.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _probe(self, name: str, known: bool | None, tell) -> None:
        self._probes.append(Probe(self.spec[name], self._process, self._place, known, tell))

    def _end(self, process: ContainerProcess, deadline: float) -> None:
        hook = self.spec.get("lifecycle", {}).get("preStop")
        if hook:
            self._before_stop(hook, process, deadline)
        process.terminate()
        # Never cancelled: killing what has ended does nothing.
        killer = threading.Timer(max(deadline - time.monotonic(), 0), process.kill)
        killer.daemon = True
        killer.start()

    def _before_stop(self, hook: dict, process: ContainerProcess, deadline: float) -> None:
        seconds = max(deadline - time.monotonic(), 0)
        if "sleep" in hook:
            # Shorter if it ends meanwhile.
            self.join(min(hook["sleep"]["seconds"], seconds))
        else:
            ask(hook, process, self._place, seconds)

    def _become(self, state: dict) -> None:
        self.state = state
        self._room.changed.set()
