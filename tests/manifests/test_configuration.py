"""What the manifests say to the programs is what the programs read."""

import json
import re
from collections.abc import Collection

import pytest
import yaml

from harness.paths import ROOT
from harness.variables import defaults, seconds

from . import render
from .objects import Manifests, Pod, container_environment, plugins

VARNISH = render.KUSTOMIZE / "components/varnish"
# The programs of this repository: kind and name of its workload, and its container.
PROGRAMS = [
    ("Deployment", "embedding-gateway", "embedding-gateway"),
    ("Deployment", "embedding-gateway-endpoint-broadcaster", "endpoint-broadcaster"),
    ("StatefulSet", "embedding-gateway-varnish", "varnish"),
]


def known(variable: str, names: Collection[str]) -> bool:
    return variable in names or any(name.endswith("*") and variable.startswith(name[:-1]) for name in names)


def container(pod: Pod, name: str) -> dict:
    return next(each for each in pod.spec["containers"] if each["name"] == name)


def environment(manifests: Manifests, kind: str, workload: str, name: str) -> dict[str, str | None]:
    return container_environment(manifests, container(Pod(manifests.get(kind, workload)), name))


def test_the_gateway_knows_every_variable_that_it_is_given(variant: Manifests):
    names = defaults("embedding-gateway")
    given = environment(variant, "Deployment", "embedding-gateway", "embedding-gateway")
    assert [each for each in given if not known(each, names)] == []
    assert {"S3_BUCKET", "S3_ENDPOINT", "OPENAI_API_KEY"} <= given.keys()


def test_the_broadcaster_knows_every_variable_that_it_is_given(dev: Manifests):
    names = defaults("endpoint-broadcaster")
    given = environment(dev, "Deployment", "embedding-gateway-endpoint-broadcaster", "endpoint-broadcaster")
    assert [each for each in given if not known(each, names)] == []


def test_start_sh_knows_every_variable_that_it_is_given(dev: Manifests):
    names = set(re.findall(r"^#   ([A-Z_]+)  ", (VARNISH / "start.sh").read_text(), re.MULTILINE))
    assert names
    assert environment(dev, "StatefulSet", "embedding-gateway-varnish", "varnish").keys() <= names


def test_one_value_names_the_headers_that_identify_clients_to_both(tmp_path):
    tree = render.copy(tmp_path)
    overlay = tree / "overlays/dev/kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("- ALLOW_ANONYMOUS_PURGE=true", "- ALLOW_ANONYMOUS_PURGE=true\n  - FORWARD_HEADERS=X-Team"))
    manifests = render.build(tree / "overlays/dev")
    for kind, workload, name in (PROGRAMS[0], PROGRAMS[2]):
        assert environment(manifests, kind, workload, name)["FORWARD_HEADERS"] == "X-Team", name


def test_the_filter_knows_every_field_that_it_is_given(variant: Manifests):
    sources = [path.read_text() for path in (ROOT / "filter").rglob("src/**/*.rs")]
    names = {name for source in sources for name in re.findall(r'fields\.(?:required|optional)\("(\w+)"', source)}
    assert {"role", "header", "maxBodyBytes"} <= names
    configurations = [spec["pluginConfig"] for _, spec in plugins(variant)]
    filters = str([each for each in variant.of("EnvoyFilter") if each["metadata"]["name"].startswith("body-hash")])
    configurations += [json.loads(each) for each in re.findall(r"'value': '(\{.*?\})'", filters)]
    # The native module has no role.
    assert {each["role"] for each in configurations if each} in ({"tap", "gate"}, {"single"}, {"tap", "gate", "single"})
    assert [field for each in configurations for field in each if field not in names] == []


@pytest.mark.parametrize(("added", "source"), [(None, "image"), ("file", "configMap"), ("init", "emptyDir")])
def test_the_sidecar_finds_the_native_module_where_its_volume_is(tmp_path, added, source):
    more = (f"body-hash-native-{added}",) if added else ()
    manifests = render.dev(render.Variant("native", add=("body-hash-native", *more)), tmp_path)
    template = manifests.get("StatefulSet", "embedding-gateway-varnish")["spec"]["template"]
    (mount,) = json.loads(template["metadata"]["annotations"]["sidecar.istio.io/userVolumeMount"])
    (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == mount["name"]]
    copied = re.search(r"AS native\nCOPY (\S+) /\1$", (ROOT / "filter/Containerfile").read_text(), re.MULTILINE)[1]
    if source == "configMap":
        assert list(manifests.get("ConfigMap", volume["configMap"]["name"])["binaryData"]) == [copied]
    if source == "emptyDir":
        (init,) = template["spec"]["initContainers"]
        (target,) = init["volumeMounts"]
        assert target["name"] == volume["name"] and init["command"] == ["cp", f"/{copied}", f"{target['mountPath']}/"]
        # A native sidecar would start before it.
        assert template["metadata"]["annotations"]["sidecar.istio.io/nativeSidecar"] == "false"
    assert volume.keys() == {"name", source}
    (patch,) = manifests.get("EnvoyFilter", "body-hash-native")["spec"]["configPatches"]
    module = patch["patch"]["value"]["typed_config"]["dynamic_module_config"]
    assert module["module"]["local"]["filename"] == f"{mount['mountPath']}/{copied}"
    # What Envoy reports of it, Istio must be told to show.
    assert module["metrics_namespace"] == template["metadata"]["annotations"]["sidecar.istio.io/statsInclusionPrefixes"]
    assert [each for each in manifests.of("WasmPlugin") if each["metadata"]["namespace"] == "embedding-gateway"] == []
    assert manifests.get("NetworkPolicy", "body-hash-registry") is None


def test_the_vcl_that_is_shipped_is_the_vcl_that_is_tested(dev: Manifests):
    shipped = next(each["data"] for each in dev.of("ConfigMap") if "default.vcl" in each["data"])
    for file, text in shipped.items():
        assert text == (VARNISH / file).read_text(), file
    included = {name for text in shipped.values() for name in re.findall(r'^include "([\w.]+)";', text, re.MULTILINE)}
    assert included <= shipped.keys()
    command = container(Pod(dev.get("StatefulSet", "embedding-gateway-varnish")), "varnish")["command"]
    assert command[-1].rpartition("/")[2] in shipped


def test_a_change_of_the_vcl_or_of_a_setting_rolls_the_pods(tmp_path, dev: Manifests):
    tree = render.copy(tmp_path)
    with (tree / "components/varnish/default.vcl").open("a") as vcl:
        vcl.write("# changed\n")
    base = tree / "base/kustomization.yaml"
    base.write_text(base.read_text().replace("LOG_FORMAT=json", "LOG_FORMAT=text"))
    changed = render.build(tree / "overlays/dev")
    for kind, workload in (("StatefulSet", "embedding-gateway-varnish"), ("Deployment", "embedding-gateway")):
        assert changed.get(kind, workload)["spec"]["template"] != dev.get(kind, workload)["spec"]["template"]
    # A Job's template cannot be changed.
    assert changed.get("Job", "minio-bucket")["spec"] == dev.get("Job", "minio-bucket")["spec"]


def test_the_job_creates_the_bucket_that_the_backend_uses(tmp_path, dev: Manifests):
    tree = render.copy(tmp_path)
    overlay = tree / "overlays/dev/kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("- ALLOW_ANONYMOUS_PURGE=true", "- ALLOW_ANONYMOUS_PURGE=true\n  - S3_BUCKET=another"))
    for manifests, bucket in ((dev, "embedding-gateway"), (render.build(tree / "overlays/dev"), "another")):
        backend = environment(manifests, "Deployment", "embedding-gateway", "embedding-gateway")
        job = environment(manifests, "Job", "minio-bucket", "bucket")
        assert backend["S3_BUCKET"] == job["S3_BUCKET"] == bucket
        assert backend["S3_ENDPOINT"] == job["S3_ENDPOINT"]


def address(manifests: Manifests, value: str) -> bool:
    """Whether host:port is a Service of the overlay and a port of it."""
    host, _, port = value.removeprefix("http://").partition(":")
    service = manifests.service_of(host)
    return service is not None and int(port) in {each["port"] for each in service["spec"]["ports"]}


def test_every_address_that_a_program_is_given_is_a_service(dev: Manifests):
    backend = environment(dev, "Deployment", "embedding-gateway", "embedding-gateway")
    broadcaster = environment(dev, "Deployment", "embedding-gateway-endpoint-broadcaster", "endpoint-broadcaster")
    vcl = (VARNISH / "backend.vcl").read_text()
    varnish = ":".join(re.search(rf'\.{field} = "([^"]+)"', vcl)[1] for field in ("host", "port"))
    for value in (backend["S3_ENDPOINT"], broadcaster["BACKEND_SERVICE"], broadcaster["VARNISH_SERVICE"], varnish):
        assert address(dev, value), value
    assert f'.host_header = "{varnish}"' in vcl


def test_a_purge_meets_every_pod(dev: Manifests):
    """A balancing name would lead it to one; and nothing translates the port of an address."""
    given = environment(dev, "Deployment", "embedding-gateway-endpoint-broadcaster", "endpoint-broadcaster")
    for variable in ("BACKEND_SERVICE", "VARNISH_SERVICE"):
        headless = dev.service_of(given[variable].partition(":")[0])["spec"]
        assert headless["clusterIP"] == "None"
        for port in headless["ports"]:
            assert {pod.port(port["targetPort"]) for pod in dev.pods(headless["selector"])} == {port["port"]}
    assert dev.get("Service", "embedding-gateway-varnish-headless")["spec"]["publishNotReadyAddresses"] is True


def test_the_entry_leads_to_varnish_and_the_backend_has_its_own_name(dev: Manifests, base: Manifests):
    entry, backend = dev.get("Service", "embedding-gateway"), dev.get("Service", "embedding-gateway-backend")
    assert {port["port"] for port in entry["spec"]["ports"]} == {8080, 8000}
    assert {pod.app for pod in dev.pods(entry["spec"]["selector"])} == {"embedding-gateway-varnish"}
    assert {port["port"] for port in backend["spec"]["ports"]} == {8080}
    assert {pod.app for pod in dev.pods(backend["spec"]["selector"])} == {"embedding-gateway"}
    assert {port["port"] for port in base.get("Service", "embedding-gateway")["spec"]["ports"]} == {8000}


def test_a_program_listens_where_its_container_says(dev: Manifests, tmp_path):
    start_sh = re.search(r"LISTEN:-:(\d+)}", (VARNISH / "start.sh").read_text())[1]
    monitored = render.dev(render.Variant("monitoring", add=("monitoring",)), tmp_path)
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "backend/Containerfile").read_text(), re.MULTILINE)[1].split()
    for kind, workload, name in PROGRAMS:
        given = environment(dev, kind, workload, name).get("LISTEN") or defaults(name).get("LISTEN") or f":{start_sh}"
        port = given.rpartition(":")[2]
        assert [str(each["containerPort"]) for each in container(Pod(dev.get(kind, workload)), name)["ports"]] == [port], name
        annotations = Pod(monitored.get(kind, workload)).template["metadata"].get("annotations", {})
        assert annotations.get("prometheus.io/port", port) == port, name
        assert name == "varnish" or port in exposed


def test_what_must_end_or_must_not_be_asked_twice_says_so(dev: Manifests):
    rule = dev.get("DestinationRule", "embedding-gateway-varnish")["spec"]
    assert rule["host"] == "embedding-gateway-varnish"
    assert rule["trafficPolicy"]["loadBalancer"]["consistentHash"] == {"httpHeaderName": "x-body-hash"}
    assert "quitquitquit" in container(Pod(dev.get("Job", "minio-bucket")), "bucket")["command"][-1]


def idle(manifests: Manifests, rule: str) -> int:
    """For how long the callers of a DestinationRule keep an unused connection."""
    spec = manifests.get("DestinationRule", rule)["spec"]
    policies = [spec["trafficPolicy"], *(subset["trafficPolicy"] for subset in spec.get("subsets", []))]
    return max(seconds(each["connectionPool"]["http"]["idleTimeout"]) for each in policies)


def test_a_caller_gives_an_idle_connection_up_before_the_server_closes_it(tmp_path):
    """No hop repeats a request that it sent into a closing connection: a repetition pays twice."""
    manifests = render.dev(render.Variant("in-mesh-clients", add=("in-mesh-clients",)), tmp_path)
    varnish = {name: int(value) for name, value in re.findall(r"^-p (\w+)=(\d+)$", (VARNISH / "start.sh").read_text(), re.MULTILINE)}
    gateway = seconds(defaults("embedding-gateway")["HEADER_TIMEOUT"])
    broadcaster = seconds(defaults("endpoint-broadcaster")["HEADER_TIMEOUT"])
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    clusters = yaml.safe_load((ROOT / "envoy/gateway.yaml").read_text())["static_resources"]["clusters"]
    (laptop,) = {each["typed_extension_protocol_options"][options]["common_http_protocol_options"]["idle_timeout"] for each in clusters}
    assert max(idle(manifests, "embedding-gateway-varnish"), idle(manifests, "embedding-gateway"), seconds(laptop)) < varnish["timeout_idle"]
    assert max(idle(manifests, "embedding-gateway-backend"), varnish["backend_idle_timeout"]) < gateway
    assert idle(manifests, "embedding-gateway-endpoint-broadcaster") < broadcaster


def test_the_host_of_the_entry_stands_in_one_place(tmp_path):
    """A filter that kept the old one would hash nothing, and bodies would miss their pods."""
    tree = render.copy(tmp_path)
    (named,) = (path for path in tree.rglob("*.yaml") if "embedding-gateway.minikube" in path.read_text())
    named.write_text(re.sub(r"embedding-gateway\.minikube\S+", "api.example.com", named.read_text()))
    changed = render.build(tree / "overlays/dev")
    assert changed.get("VirtualService", "embedding-gateway")["spec"]["hosts"] == ["api.example.com"]
    ingress = [each for each in changed.of("WasmPlugin") if each["metadata"]["namespace"] == "istio-system"]
    assert [each["spec"]["pluginConfig"]["hosts"] for each in ingress] == [["api.example.com"]] * 2
    assert "minikube" not in str(changed.get("EnvoyFilter", "embedding-gateway-http"))


def test_the_purge_host_stands_in_one_place_and_is_closed_to_whom_the_provider_refuses(tmp_path):
    tree = render.copy(tmp_path)
    cluster, overlay = tree / "overlays/dev/cluster/config_map.yaml", tree / "overlays/dev/kustomization.yaml"
    cluster.write_text(re.sub(r"purgeHost: .*", "purgeHost: purge.example.com", cluster.read_text()))
    overlay.write_text(overlay.read_text().replace("components:\n", "components:\n- ../../components/purge-oauth2\n"))
    manifests = render.build(tree / "overlays/dev")
    (host,) = manifests.get("Gateway", "embedding-gateway-purge-oauth2")["spec"]["servers"][0]["hosts"]
    assert host == "purge.example.com"
    policy = manifests.get("AuthorizationPolicy", "embedding-gateway-purge-oauth2", "istio-system")["spec"]
    assert (policy["action"], policy["rules"]) == ("CUSTOM", [{"to": [{"operation": {"hosts": [host, f"{host}:*"]}}]}])
    assert manifests.get("VirtualService", "embedding-gateway-purge-oauth2")["spec"]["hosts"] == [host]
    # And nothing is left of the host that is open.
    assert manifests.get("VirtualService", "embedding-gateway-purge") is manifests.get("Gateway", "embedding-gateway-purge") is None


def test_a_pair_from_a_file_shares_one_vm(tmp_path):
    manifests = render.dev(render.Variant("file", add=("body-hash-file",), remove=("body-hash-ingress",)), tmp_path)
    assert list(manifests.of("WasmPlugin")) == []
    patches = manifests.get("EnvoyFilter", "body-hash-file")["spec"]["configPatches"]
    tap, gate = (each["patch"]["value"]["typed_config"]["config"] for each in patches)
    assert [json.loads(each["configuration"]["value"])["role"] for each in (tap, gate)] == ["tap", "gate"]
    assert tap["vm_config"] == gate["vm_config"]
    assert tap["failure_policy"] == gate["failure_policy"] == "FAIL_RELOAD"
    mounted = Pod(manifests.get("StatefulSet", "embedding-gateway-varnish")).template["metadata"]["annotations"]
    folder, _, file = tap["vm_config"]["code"]["local"]["filename"].rpartition("/")
    assert json.loads(mounted["sidecar.istio.io/userVolumeMount"])[0]["mountPath"] == folder
    module = manifests.get("ConfigMap", json.loads(mounted["sidecar.istio.io/userVolume"])[0]["configMap"]["name"])
    assert file in module["binaryData"]


def test_no_overlay_holds_what_another_or_a_component_holds():
    """An overlay is a list and its differences; a list of one file says nothing."""
    files = [path for path in render.KUSTOMIZE.rglob("*.yaml") if "pinned" not in path.parts and path.name != "kustomization.yaml"]
    overlays, texts = render.KUSTOMIZE / "overlays", {path: path.read_text() for path in files}
    copies = [(one, other) for one in files if one.is_relative_to(overlays) for other in files if one != other and texts[one] == texts[other]]
    assert copies == []


def _snake(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()


FILES = sorted(path for path in render.KUSTOMIZE.rglob("*.yaml") if not {"patches", "replacements"} & set(path.parts))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(render.KUSTOMIZE)))
def test_a_file_holds_one_object_and_is_called_by_its_kind(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    if path.name == "image_fields.yaml":
        return
    assert len(documents) == 1
    if path.name == "kustomization.yaml":
        assert not {"bases", "commonLabels", "imageTags", "patchesJson6902", "patchesStrategicMerge", "vars"} & documents[0].keys()
    else:
        assert re.fullmatch(rf"{_snake(documents[0]['kind'])}(_[a-z-]+)*\.yaml", path.name)
