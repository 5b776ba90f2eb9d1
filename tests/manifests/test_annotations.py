"""What a file says of an object's metadata is what the API server gets, whatever else an overlay lists."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import yaml

from . import render
from .objects import Manifests, Object

KINDS = ("annotations", "labels")


def _metadata(whole: Object) -> Iterator[tuple[str, Object]]:
    """An object's own, and that of its pods."""
    yield "", whole.get("metadata", {})
    yield "its pods' ", ((whole.get("spec") or {}).get("template") or {}).get("metadata") or {}


def said(path: Path) -> Iterator[tuple[str, str, str, str, str, str]]:
    """(kind, name, place, annotations or labels, key, value) of a resource or a merge patch."""
    whole = yaml.safe_load(path.read_text())
    if not isinstance(whole, dict) or "$patch" in whole or "metadata" not in whole:
        return
    for place, metadata in _metadata(whole):
        for what, (key, value) in ((kind, pair) for kind in KINDS for pair in (metadata.get(kind) or {}).items()):
            yield whole["kind"], whole["metadata"]["name"], place, what, key, value


def taken_away(files: list[Path]) -> set[str]:
    """Keys that one component removes by name, on purpose."""
    patches = (yaml.safe_load(path.read_text()) for path in files if path.parent.name == "patches")
    steps = (step for patch in patches if isinstance(patch, list) for step in patch if step["op"] == "remove")
    return {step["path"].rpartition("/")[2].replace("~1", "/") for step in steps}


def lost(manifests: Manifests, files: list[Path]) -> list[str]:
    problems, gone = [], taken_away(files)
    everything = (each for each in itertools.chain.from_iterable(map(said, files)) if each[4] not in gone)
    for kind, name, place, what, key, value in everything:
        for each in (each for each in manifests.of(kind) if each["metadata"]["name"] == name):
            found = dict(_metadata(each))[place].get(what, {})
            if key not in found:
                problems.append(f"{kind} {name}: {place}{key} is lost")
            elif found[key] != value and not key.startswith("app.kubernetes.io/") and key != "argocd.argoproj.io/sync-wave":
                problems.append(f"{kind} {name}: {place}{key} is {found[key]}, not {value}")
    return problems


def test_nothing_that_a_file_says_of_an_object_is_lost(variant: Manifests, request):
    """Base, overlay and every component of this variant: each as if it stood alone."""
    asked = request.node.callspec.params["variant"]
    folders = ["base", f"overlays/{asked.overlay}", *(f"components/{each}" for each in sorted(asked.components()))]
    assert lost(variant, [path for folder in folders for path in sorted((render.KUSTOMIZE / folder).rglob("*.yaml"))]) == []


def test_no_patch_replaces_a_map():
    """By JSON patch `add` replaces the whole of annotations, labels or data, whatever another component has set there."""
    maps = ("annotations", "labels", "data", "env", "matchLabels")
    replaced = []
    for path in render.KUSTOMIZE.rglob("patches/*.yaml"):
        steps = yaml.safe_load(path.read_text())
        replaced += [f"{path}: {step['path']}" for step in steps if isinstance(steps, list) and step["path"].rpartition("/")[2] in maps]
    assert replaced == []


def test_workload_identity_reaches_the_service_account(variant: Manifests, request):
    components = request.node.callspec.params["variant"].components()
    if "s3" in components and "eks-pod-identity" not in components:
        account = variant.get("ServiceAccount", "embedding-gateway")
        assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam::")
