"""Everything is replaced under load, with a client who claims other bodies' hashes: no client gets a wrong answer, and nothing hangs."""

import pytest
from asking import body_of, embed
from cluster.control_plane import ISTIO_NAMESPACE
from cluster.gateway import NAMESPACE, VARNISH
from cluster.proxy import Proxy
from cluster.registry import FILTER
from cluster.registry import NAME as REGISTRY
from cluster.waiting import until
from harness.client import send
from harness.paths import filter_module
from load import Load, assert_unharmed, vector_of

WAIT_SECONDS = 120
# Between two steps of an update, and after the last: long enough that connections from before meet what is new.
REQUESTS = 300
PLUGINS = "/apis/extensions.istio.io/v1alpha1/namespaces/{}/wasmplugins"
# The name of the EnvoyFilter and of the filter in it, and with what the pair's begin.
SINGLES_NAME = "body-hash"
ENVOY_FILTER = f"/apis/networking.istio.io/v1alpha3/namespaces/{NAMESPACE}/envoyfilters/{SINGLES_NAME}"
OVERLAY = "overlays/dev/kustomization.yaml"
PAIR, SINGLE = "- ../../components/body-hash\n", "- ../../components/body-hash-single\n"


def assert_nothing_stored_falsely(gateway, load: Load) -> None:
    """The first client to ask for a body whose hash was claimed finds nothing there, and gets its own answer."""
    for text in load.victims:
        answer = embed(text, load.key)
        assert not answer.from_varnish, text
        assert vector_of(answer.body) == pytest.approx(truth(gateway, text, load.key), abs=1e-6), text


def truth(gateway, text: str, key: str) -> list[float]:
    """What the upstream itself says."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return send(gateway.upstream.url, "POST", "/v1/embeddings", body_of(text), headers).json["data"][0]["embedding"]


def plugins(gateway, role: str) -> list[tuple[str, dict]]:
    """(path, object) of the WasmPlugins of this role, on Varnish and on the ingress gateway."""
    found = []
    for namespace in (NAMESPACE, ISTIO_NAMESPACE):
        path = PLUGINS.format(namespace)
        # Those of clients in the mesh are not in the way of any request here.
        items = [item for item in gateway.mesh.api.items(path) if item["spec"]["pluginConfig"]["role"] == role and "-client-" not in item["metadata"]["name"]]
        found += [(f"{path}/{item['metadata']['name']}", item) for item in items]
    assert len(found) == 2
    return found


def publish(gateway, version: str, tmp_path) -> None:
    """The same filter as another module: a custom section at its end changes its bytes and nothing else."""
    name = b"version"
    content = bytes([len(name)]) + name + version.encode()
    module = tmp_path / "plugin.wasm"
    module.write_bytes(filter_module().read_bytes() + bytes([0, len(content)]) + content)
    gateway.registry.push_filter(module, version)


def move(gateway, role: str, version: str) -> None:
    """Sets one role's version and waits until every proxy runs it."""
    before = [proxy.modules()[role] for proxy in gateway.proxies_with_the_filter()]
    for path, _ in plugins(gateway, role):
        gateway.mesh.api.patch(path, {"spec": {"url": f"oci://{REGISTRY}/{FILTER}:{version}"}})

    def moved() -> bool:
        return all(proxy.modules().get(role) != old for proxy, old in zip(gateway.proxies_with_the_filter(), before, strict=True))

    until(moved, WAIT_SECONDS, f"{role} {version} in every proxy")


def hits(load: Load) -> list[bool]:
    """Whether each text, which Varnish knows, is answered by it: only with a hash it can be."""
    return [embed(text, load.key).from_varnish for text in load.texts]


@pytest.mark.parametrize(("first", "second", "version"), [("tap", "gate", "test-2"), ("gate", "tap", "test-3")])
def test_the_filter_moves_to_a_new_version_one_half_after_the_other(gateway, tmp_path, record_property, first, second, version):
    publish(gateway, version, tmp_path)
    with Load(hostile=True) as load:
        for role in (first, second):
            move(gateway, role, version)
            load.wait_for(REQUESTS)
    record_property(f"filter update, {first} first", load.tally)
    assert_unharmed(load.tally)
    assert_nothing_stored_falsely(gateway, load)
    assert all(hits(load)), "the new version hashes"


def test_the_filter_is_taken_away_and_comes_back(gateway, record_property):
    both = [*plugins(gateway, "tap"), *plugins(gateway, "gate")]
    with Load(hostile=True) as load:
        for path, _ in both:
            gateway.mesh.api.delete(path)
        until(lambda: not any(hits(load)), WAIT_SECONDS, "no filter")
        load.wait_for(REQUESTS)
        gateway.apply()
        until(lambda: all(hits(load)), WAIT_SECONDS, "the filter is back")
        load.wait_for(REQUESTS)
    record_property("filter deleted and applied", load.tally)
    assert_unharmed(load.tally)
    assert_nothing_stored_falsely(gateway, load)


def wait_for_filters(gateway, count: int, what: str) -> None:
    """Until new connections to every Varnish meet so many filters that hash."""

    def are_in_use() -> bool:
        found = [Proxy(gateway.mesh, NAMESPACE, pod).filters() for pod in gateway.varnish_pods()]
        return all(sum(SINGLES_NAME in name for name in names) == count for names in found)

    until(are_in_use, WAIT_SECONDS, what)


def test_one_filter_takes_the_place_of_the_pair_and_gives_it_back(gateway, record_property):
    """The component `body-hash-single`; as `kubectl apply` deletes nothing, for a while both hash."""
    with Load(hostile=True) as load:
        gateway.overlay.replace(OVERLAY, PAIR, PAIR + SINGLE)
        gateway.apply()
        wait_for_filters(gateway, 3, "the one beside the pair")
        for role in ("tap", "gate"):
            gateway.mesh.api.delete(plugins(gateway, role)[0][0])
        wait_for_filters(gateway, 1, "the one alone")
        load.wait_for(REQUESTS)
        assert all(hits(load)), "one filter hashes too"

        gateway.overlay.replace(OVERLAY, PAIR + SINGLE, PAIR)
        gateway.apply()
        wait_for_filters(gateway, 3, "the pair beside the one")
        gateway.mesh.api.delete(ENVOY_FILTER)
        wait_for_filters(gateway, 2, "the pair alone")
        load.wait_for(REQUESTS)
    record_property("one filter in place of the pair, and back", load.tally)
    assert_unharmed(load.tally)
    assert_nothing_stored_falsely(gateway, load)
    assert all(hits(load)), "the pair hashes again"


def test_the_backend_is_rolled(gateway, record_property):
    with Load() as load:
        gateway.mesh.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/embedding-gateway")
        gateway.wait("the new backend")
        load.wait_for(REQUESTS)
    record_property("backend rolled", load.tally)
    assert_unharmed(load.tally)


def test_a_change_of_the_vcl_rolls_varnish(gateway, record_property):
    before = gateway.varnish_addresses()
    with Load(hostile=True) as load:
        gateway.overlay.append("components/varnish/default.vcl", "# A change.\n")
        gateway.apply()
        gateway.wait("the new Varnish pods")
        gateway.wait_for_varnish_at_the_ingress()
        load.wait_for(REQUESTS)
    record_property("Varnish rolled", load.tally)
    assert not before & gateway.varnish_addresses(), f"{VARNISH} is new"
    assert_unharmed(load.tally)
    assert_nothing_stored_falsely(gateway, load)


def test_no_proxy_rejected_any_of_it(mesh, gateway):
    assert mesh.control_plane.rejections() == {}
