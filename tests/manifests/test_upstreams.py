"""The check of upstreams finds the breakage that it is there for."""

import copy

import pytest

from . import render
from .objects import Manifests
from .upstreams import upstreams_out_of_reach


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Manifests:
    return render.dev(render.Variant("upstreams", add=("upstreams",)), tmp_path_factory.mktemp("upstreams"))


def _spec(manifests: Manifests, kind: str, name: str) -> dict:
    return manifests.get(kind, name)["spec"]


def _without_volume(manifests: Manifests, name: str) -> None:
    pod = _spec(manifests, "Deployment", "embedding-gateway")["template"]["spec"]
    pod["volumes"] = [each for each in pod["volumes"] if each["name"] != name]
    container = pod["containers"][0]
    container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] != name]


def _edit(manifests: Manifests, old: str, new: str) -> None:
    data = manifests.get("ConfigMap", "embedding-gateway-upstreams")["data"]
    assert old in data["upstreams.toml"]
    data["upstreams.toml"] = data["upstreams.toml"].replace(old, new)


AZURE, LOCAL = "example.openai.azure.com", "tei.embedding-models.svc.cluster.local"
BREAKAGES = [
    ("a ServiceEntry for another host", f"azure: {AZURE}:443 is in no", lambda m: _spec(m, "ServiceEntry", "upstreams").update(hosts=["x.example.com"])),
    ("a Sidecar without the hosts", f"azure: {AZURE} is not in", lambda m: _spec(m, "Sidecar", "embedding-gateway")["egress"][0].update(hosts=["./api.openai.com"])),
    ("a Sidecar without the hosts, inside", f"local: {LOCAL} is not in", lambda m: _spec(m, "Sidecar", "embedding-gateway")["egress"][0].update(hosts=["./api.openai.com"])),
    ("a closed port", f"local: no NetworkPolicy lets out to {LOCAL}:8080", lambda m: _spec(m, "NetworkPolicy", "upstreams")["egress"][0]["ports"][0].update(port=80)),
    ("another namespace", f"local: no NetworkPolicy lets out to {LOCAL}:8080", lambda m: _spec(m, "NetworkPolicy", "upstreams")["egress"][0].update(to=[])),
    ("keys that are not mounted", "azure: has no Secret", lambda m: _without_volume(m, "upstream-keys")),
    ("a file that is not mounted", "no ConfigMap holds", lambda m: _without_volume(m, "upstreams")),
    ("a variable that is not given", "openai: is given no OTHER_KEY", lambda m: _edit(m, "env:OPENAI_API_KEY", "env:OTHER_KEY")),
    ("an upstream at another port", f"azure: {AZURE}:8443 is in no", lambda m: _edit(m, f"{AZURE}/", f"{AZURE}:8443/")),
]


@pytest.mark.parametrize(("said", "breakage"), [each[1:] for each in BREAKAGES], ids=[each[0] for each in BREAKAGES])
def test_the_check_finds(several: Manifests, said: str, breakage):
    broken = copy.deepcopy(several)
    breakage(broken)
    assert any(said in each for each in upstreams_out_of_reach(broken)), upstreams_out_of_reach(broken)


def test_a_change_of_the_file_rolls_no_pod_and_is_read_again(several: Manifests):
    (volume,) = [each for each in _spec(several, "Deployment", "embedding-gateway")["template"]["spec"]["volumes"] if each["name"] == "upstreams"]
    # No suffix that changes with it. A folder, not a file by `subPath`, which kubelet never updates.
    assert volume["configMap"]["name"] == "embedding-gateway-upstreams"
    mounts = _spec(several, "Deployment", "embedding-gateway")["template"]["spec"]["containers"][0]["volumeMounts"]
    assert not any("subPath" in each for each in mounts)
