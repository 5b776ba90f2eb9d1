"""Components `upstreams` and `body-hash-file`: a second upstream answers where the first fails, nothing else is let out, and
what is mounted under a fixed name arrives in running pods."""

import hashlib
import json
from collections.abc import Iterator

import pytest
from asking import ask, body_of, embed, fresh, fresh_key, hash_of
from cluster.gateway import NAMESPACE, VARNISH
from cluster.overlay import MANIFESTS
from cluster.several import AZURE, AZURE_ADDRESS, FILE, LOCAL, LOCAL_MODEL, LOCAL_NAMESPACE, MODULE, Several
from cluster.upstream import NAME
from cluster.waiting import until
from harness.client import Answer
from harness.paths import filter_module
from test_deploy import restarts
from test_egress import fetching

SECONDS = 180
BACKEND = "embedding-gateway"
# kubelet looks every 10 s here, and a busy machine later.
VOLUME_SECONDS = 240
INSIDE = f"http://{LOCAL}.{LOCAL_NAMESPACE}.svc.cluster.local"
# A model that the file does not name yet; the stand-in has it by another name.
ADDED_MODEL = "added"


@pytest.fixture(scope="module")
def several(gateway, tmp_path_factory) -> Iterator[Several]:
    running = Several(gateway, tmp_path_factory.mktemp("several"))
    try:
        running.start()
        until(lambda: embed(fresh(), running.caller).status == 200, SECONDS, "served")
        yield running
    finally:
        # What comes after this renders dev as it was.
        running.stop()


def embed_by(model: str, key: str) -> Answer:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return ask("POST", "/v1/embeddings", json.dumps({"model": model, "input": fresh()}).encode(), headers)


def test_a_second_upstream_answers_when_the_first_fails(gateway, several):
    assert ask("POST", "/v1/embeddings", body_of(fresh()), {"Authorization": f"Bearer {fresh_key()}"}).status == 401
    gateway.upstream.fail({"status": 503})
    try:
        before = several.azure.stats()["calls"]
        answer = until(lambda: (found := embed(fresh(), several.caller)).status == 200 and found, SECONDS, "an answer all the same")
        assert answer.billed > 0
        assert several.azure.stats()["calls"] > before
    finally:
        gateway.upstream.fail()
    # It is left alone for a while after it has failed.
    gateway.upstream.forget()
    until(lambda: embed(fresh(), several.caller).status == 200 and gateway.upstream.stats()["calls"], SECONDS, "the first is asked again")


def test_a_server_inside_answers_its_model(several):
    until(lambda: embed_by(LOCAL_MODEL, several.caller).status == 200, SECONDS, "an answer from inside")


def test_exactly_these_hosts_are_let_out_to(mesh, gateway, several):
    fetch = fetching(mesh, several.azure.certificate)
    mesh.names.add("another.openai.azure.com", AZURE_ADDRESS)
    # The stand-ins' own words to a client without a key.
    for url in (f"https://{AZURE}/v1/models", f"https://{NAME}/v1/models", f"{INSIDE}:8080/v1/models"):
        until(lambda url=url: fetch(BACKEND, url, "--insecure") == 401, SECONDS, url)
    assert fetch(BACKEND, "https://another.openai.azure.com/v1/models", "--insecure") is None
    assert fetch(BACKEND, f"https://{AZURE_ADDRESS}/v1/models", "--insecure") is None
    assert fetch(BACKEND, f"http://{AZURE}:8081/v1/models") in (None, 502, 503)
    for app in (VARNISH, "embedding-gateway-endpoint-broadcaster"):
        assert fetch(app, f"https://{AZURE}/v1/models") is None
        assert fetch(app, f"{INSIDE}:8080/v1/models") in (None, 502, 503)


def test_the_mounted_module_hashes(gateway, several):
    """And no other than the ConfigMap's is there: the gateway of the mesh hashes nothing, so a body meets either pod."""
    text = fresh("of a file")
    until(lambda: embed(text, several.caller, x_body_hash="0" * 64).from_varnish, SECONDS, "an answer from Varnish")
    until(lambda: gateway.varnish_log(hash_of(body_of(text))), SECONDS, "a line with the hash")
    assert gateway.varnish_log("0" * 64) == []
    assert gateway.mesh.control_plane.rejections() == {}


def pods(mesh) -> dict[str, str]:
    """Name and UID of those that are not about to end."""
    found = (each["metadata"] for each in mesh.pods(NAMESPACE))
    return {each["name"]: each["uid"] for each in found if "deletionTimestamp" not in each}


def reloads(mesh, result: str) -> float:
    (pod, *_) = mesh.pods(NAMESPACE, f"app={BACKEND}")
    page = mesh.run_in(pod, "curl", "-s", "-m", "60", "http://127.0.0.1:8000/metrics", timeout=120).stdout
    name = f'upstream_reloads_total{{result="{result}"}}'
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if name in line)


def with_another_section(module: bytes) -> bytes:
    """The same filter as another file."""
    content = bytes([7]) + b"version" + b"another"
    return module + bytes([0, len(content)]) + content


def test_what_is_mounted_under_a_fixed_name_arrives_and_rolls_no_pod(mesh, gateway, several):
    """upstreams.toml, a key of an upstream, the filter's module: kubelet renews all three."""
    before = pods(mesh)
    assert embed_by(ADDED_MODEL, several.caller).status == 404
    gateway.overlay.append(FILE, f'\n[models."{ADDED_MODEL}"]\nupstreams = ["local"]\n')
    gateway.overlay.replace(FILE, 'models = { "', f'models = {{ "{ADDED_MODEL}" = "text-embedding-3-large", "')
    module = with_another_section(filter_module().read_bytes())
    (MANIFESTS / MODULE).write_bytes(module)
    key = several.new_azure_key()
    several.apply()

    until(lambda: embed_by(ADDED_MODEL, several.caller).status == 200, VOLUME_SECONDS, "the file as it is now")
    gateway.upstream.fail({"status": 503})
    try:
        until(lambda: embed(fresh(), several.caller) and key in several.azure.keys(), VOLUME_SECONDS, "the key as it is now")
    finally:
        gateway.upstream.fail()
    wanted = hashlib.sha256(module).hexdigest()
    until(lambda: mesh.node.mounted(before[f"{VARNISH}-0"], "configmap/body-hash/plugin.wasm") == wanted, VOLUME_SECONDS, "the module as it is now")
    # The proxies go on with what they have loaded, until a pod starts anew.
    text = fresh("meanwhile")
    until(lambda: embed(text, several.caller).from_varnish, SECONDS, "an answer from Varnish")
    assert (pods(mesh), restarts(mesh)) == (before, {})

    mesh.kubectl("-n", NAMESPACE, "delete", "pod", f"{VARNISH}-0", "--force", "--grace-period=0")
    until(lambda: pods(mesh).get(f"{VARNISH}-0") not in (None, before[f"{VARNISH}-0"]) and mesh.settled(NAMESPACE), SECONDS, "a new pod")
    gateway.wait_for_varnish_at_the_ingress()
    assert mesh.node.mounted(pods(mesh)[f"{VARNISH}-0"], "configmap/body-hash/plugin.wasm") == wanted
    texts = [fresh("anew") for _ in range(12)]
    until(lambda: all(embed(each, several.caller).from_varnish for each in texts), SECONDS, "both pods hash")


def test_a_file_that_cannot_be_used_changes_nothing(mesh, gateway, several):
    before = pods(mesh)
    gateway.overlay.append(FILE, "\nthis is no TOML\n")
    several.apply()
    until(lambda: reloads(mesh, "failed"), VOLUME_SECONDS, "a count of it")
    assert embed(fresh(), several.caller).status == 200
    assert embed_by(ADDED_MODEL, several.caller).status == 200
    assert (pods(mesh), restarts(mesh)) == (before, {})
