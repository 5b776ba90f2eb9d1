"""A Pod's status, computed from its containers."""

from kubelet.container import Container, now
from kubelet.sandbox import NODE_ADDRESS


def pod_status(phase: str, address: str, initial: list[Container], main: list[Container], complete: bool) -> dict:
    """`initial` are the init containers so far, `main` the others; `complete` says that every init container has had its turn."""
    sidecars = [each for each in initial if is_sidecar(each.spec)]
    running = bool(main) and all(each.ready for each in [*sidecars, *main])
    conditions = {
        "PodReadyToStartContainers": True,
        "Initialized": complete,
        "ContainersReady": running,
        "Ready": running,
    }
    return {
        "phase": phase,
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": name, "status": str(holds)} for name, holds in conditions.items()],
        "initContainerStatuses": [_init_status(each) for each in initial],
        "containerStatuses": [each.status() for each in main],
    }


def with_times(status: dict, before: dict | None) -> dict:
    """The same with the time of each condition's last change."""
    times = {each["type"]: each for each in (before or {}).get("conditions", [])}
    for condition in status["conditions"]:
        old = times.get(condition["type"])
        same = old and old["status"] == condition["status"]
        condition["lastTransitionTime"] = old["lastTransitionTime"] if same else now()
    return status


def is_sidecar(spec: dict) -> bool:
    return spec.get("restartPolicy") == "Always"


def _init_status(container: Container) -> dict:
    """An init container is ready when it has done its work, a sidecar when its probe says so."""
    status = container.status()
    return status if is_sidecar(container.spec) else status | {"ready": container.exit_code == 0}
