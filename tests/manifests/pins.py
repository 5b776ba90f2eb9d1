"""What names an image that scripts/images.sh pins, and whether the API server would refuse it without its pin."""

import re

from harness.paths import ROOT

from .objects import Manifests, Object, Pod, title

# What stands before the name of an image that was never pinned.
UNSET = re.search(r"^readonly UNSET=(\S+)$", (ROOT / "scripts/images.sh").read_text(), re.MULTILINE)[1]


def _images(pod: Pod) -> set[str]:
    volumes = (each["image"]["reference"] for each in pod.spec.get("volumes", []) if each.get("image"))
    return {*volumes, *(each["image"] for each in pod.containers)}


def _pinned_paths(pod: Pod) -> set[str]:
    """Of its volumes that are there to be refused."""
    volumes = (each for each in pod.spec.get("volumes", []) if each["name"].endswith("pin"))
    return {item["path"] for each in volumes for item in each["downwardAPI"]["items"]}


def _mounted(pod: Pod) -> set[str]:
    return {each["name"] for container in pod.containers for each in container.get("volumeMounts", [])}


def refused(workload: Object) -> set[str]:
    """The paths for which the API server refuses a workload: Kubernetes' validateLocalDescendingPath."""
    return {path for path in _pinned_paths(Pod(workload)) if path.startswith("/") or ".." in path.split("/")}


def starts_unpinned(manifests: Manifests) -> list[str]:
    """Workloads with an image of scripts/images.sh that is not pinned, and that the API server would take."""
    problems = []
    for pod in manifests.pods():
        unset = {each for each in _images(pod) if each.startswith(UNSET)}
        problems += [f"{title(pod.workload)}: {each} would be taken" for each in sorted(unset - refused(pod.workload))]
        problems += [f"{title(pod.workload)}: {each} is of no image" for each in sorted(_pinned_paths(pod) - _images(pod))]
        problems += [f"{title(pod.workload)}: mounts {each}" for each in sorted(_mounted(pod)) if each.endswith("pin")]
    return problems
