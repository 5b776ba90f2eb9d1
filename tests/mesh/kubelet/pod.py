"""One Pod from its binding to its end, in the order that Kubernetes promises."""

import threading
import time
from pathlib import Path

from kubelet.api import STRATEGIC_PATCH, Api, ApiError
from kubelet.container import Container, Room
from kubelet.environment import CannotConfigure
from kubelet.images import Images
from kubelet.sandbox import Sandbox
from kubelet.status import is_sidecar, pod_status, with_times
from kubelet.volumes import Volumes

# A change is reported at once; this is how often the rest is looked at.
TICK_SECONDS = 0.5
# What a sidecar gets at least when the containers before it took the Pod's whole grace, as in the real one.
SIDECAR_GRACE_SECONDS = 2


class Gone(Exception):
    """The Pod is to end."""


class PodLife(threading.Thread):
    """Starts with its thread; ends when the Pod is deleted, and the Pod with it."""

    def __init__(self, api: Api, pod: dict, images: Images, number: int, folder: Path, logs: Path) -> None:
        super().__init__(daemon=True, name=pod["metadata"]["name"])
        self._api, self.pod = api, pod
        self._grace: int | None = None
        self._forced = False
        self.initial: list[Container] = []
        self.main: list[Container] = []
        self._init_done = False
        self._reported: dict | None = None
        self.sandbox = Sandbox(pod, number, folder / "sandbox")
        volumes = Volumes(api, pod, self.sandbox.address, folder / "volumes")
        self.room = Room(api, pod, images, self.sandbox, volumes, folder, logs)
        self.start()

    def run(self) -> None:
        try:
            self._initialize()
            self._run_main()
        except Gone:
            pass
        self._terminate()
        self._report()
        self._wait_for_deletion()
        self.sandbox.close()

    def delete(self, grace: int, forced: bool = False) -> None:
        """The Pod is to end within `grace` seconds; `forced` when it is gone from the API already."""
        self._grace, self._forced = grace, forced or self._forced
        self.room.changed.set()

    def container(self, name: str) -> Container:
        return next(each for each in [*self.initial, *self.main] if each.spec["name"] == name)

    def _initialize(self) -> None:
        self._until(self._has_volumes)
        for spec in self.pod["spec"].get("initContainers", []):
            sidecar = is_sidecar(spec)
            container = Container(self.room, spec, "Always" if sidecar else self._init_policy())
            self.initial.append(container)
            if sidecar:
                self._until(lambda started=container: started.started)
            else:
                self._until(lambda ended=container: ended.exit_code == 0)
        self._init_done = True

    def _run_main(self) -> None:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        self.main = [Container(self.room, spec, policy) for spec in self.pod["spec"]["containers"]]
        self._until(lambda: all(not each.is_alive() for each in self.main))

    def _has_volumes(self) -> bool:
        try:
            self.room.volumes.make()
        except (CannotConfigure, ApiError) as error:
            self._note(f"no volumes yet: {error}")
            return False
        return True

    def _note(self, message: str) -> None:
        """What the real kubelet would tell by an event, in a log of its own."""
        log = self.room.log_of("kubelet")
        if not log.exists() or message not in log.read_text():
            with open(log, "a") as lines:
                lines.write(message + "\n")

    def _until(self, condition) -> None:
        while True:
            self._report()
            if self._grace is not None:
                raise Gone
            if condition():
                return
            self.room.changed.wait(TICK_SECONDS)
            self.room.changed.clear()

    def _terminate(self) -> None:
        """The main containers together, then the init containers backwards."""
        grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30) if self._grace is None else self._grace
        if self._forced:
            grace = 0
        deadline = time.monotonic() + grace
        stops = [threading.Thread(target=each.stop, args=(grace,), daemon=True) for each in self.main]
        for stop in stops:
            stop.start()
        while any(stop.is_alive() for stop in stops):
            self._report()
            self.room.changed.wait(TICK_SECONDS)
            self.room.changed.clear()
            if self._forced:
                self._kill()
        for container in reversed(self.initial):
            container.stop(max(deadline - time.monotonic(), 0 if self._forced else SIDECAR_GRACE_SECONDS))

    def _kill(self) -> None:
        for container in [*self.main, *self.initial]:
            container.kill()

    def _init_policy(self) -> str:
        return "Never" if self.pod["spec"].get("restartPolicy") == "Never" else "OnFailure"

    def _phase(self) -> str:
        if not self._init_done or not self.main:
            return "Pending"
        if any(each.is_alive() for each in [*self.initial, *self.main]):
            return "Running"
        return "Succeeded" if all(each.exit_code == 0 for each in self.main) else "Failed"

    def _report(self) -> None:
        status = pod_status(self._phase(), self.sandbox.address, self.initial, self.main, self._init_done)
        status = with_times(status, self._reported)
        if status == self._reported or self._forced:
            return
        metadata = self.pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        try:
            self._api.patch(path, {"metadata": {"uid": metadata["uid"]}, "status": status}, STRATEGIC_PATCH)
            self._reported = status
        except ApiError as error:
            # 409, or 422 for its uid: another Pod has the name already. 404: the Pod is deleted already.
            is_replaced = error.status == 409 or (error.status == 422 and "metadata.uid" in str(error))
            if not is_replaced and error.status != 404:
                raise

    def _wait_for_deletion(self) -> None:
        """What has ended by itself stays until a client deletes it."""
        while self._grace is None:
            self.room.changed.wait(TICK_SECONDS)
            self.room.changed.clear()
        if self._forced:
            return
        metadata = self.pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        try:
            self._api.delete(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
