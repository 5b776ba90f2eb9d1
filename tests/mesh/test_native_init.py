"""In which order istiod's webhook puts the proxy and an init container that brings it a file."""

import json
import subprocess

import pytest
import yaml
from harness.paths import ROOT

NAMESPACE = "native-init"
VARNISH = "embedding-gateway-varnish"
PROXY, MODULE = "istio-proxy", "body-hash-native"
# As overlays/skaffold-native has it: an image that was never pinned the API server refuses.
_OVERLAY = {
    "resources": ["../dev"],
    "components": ["../../components/body-hash-native", "../../components/body-hash-native-init", "../skaffold/images"],
}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> dict:
    """Of Varnish's pods, as the component makes it."""
    tree = tmp_path_factory.mktemp("native") / "kustomize"
    subprocess.run(["cp", "-r", ROOT / "kustomize", tree], check=True)
    overlay = tree / "overlays/native"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(_OVERLAY))
    built = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, check=True).stdout
    (found,) = [each for each in yaml.safe_load_all(built) if (each["kind"], each["metadata"]["name"]) == ("StatefulSet", VARNISH)]
    return found["spec"]["template"]


@pytest.fixture(scope="module")
def namespace(mesh):
    labels = {"istio-injection": "enabled"}
    mesh.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}])
    yield NAMESPACE
    mesh.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture
def injected(mesh, namespace, template, tmp_path):
    """A function: what the API server would keep of such a pod with these annotations on top."""

    def inject(**annotations: str) -> dict:
        spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
        own = template["metadata"]["annotations"] | {f"sidecar.istio.io/{key}": value for key, value in annotations.items()}
        metadata = {"name": "varnish", "namespace": namespace, "labels": template["metadata"]["labels"], "annotations": own}
        path = tmp_path / "pod.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
        return json.loads(mesh.kubectl("create", "--dry-run=server", "--output=json", f"--filename={path}").stdout)["spec"]

    return inject


def names(containers: list[dict]) -> list[str]:
    return [each["name"] for each in containers]


def test_the_init_container_comes_before_the_proxy_that_loads_what_it_brings(injected):
    spec = injected()
    assert MODULE in names(spec["initContainers"]) and PROXY not in names(spec["initContainers"])
    # First of the containers, and the others wait for it.
    assert names(spec["containers"])[0] == PROXY
    assert "postStart" in spec["containers"][0]["lifecycle"]
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    assert mounts[MODULE] == "/etc/istio/body-hash-native"


def test_a_native_sidecar_stands_before_every_init_container(injected):
    """Which is why the component asks for none: the proxy would be ready never, and the init container never begin."""
    order = names(injected(nativeSidecar="true")["initContainers"])
    assert order.index(PROXY) < order.index(MODULE)
