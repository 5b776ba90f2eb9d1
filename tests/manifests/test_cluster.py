"""What differs from cluster to cluster is set in one place: the ingress gateway's identity, the mesh's namespace, the region of the bucket."""

import pytest

from . import render, upstreams
from .objects import Manifests, Pod, container_environment, namespace

EVERYTHING = ("purge-oauth2", "in-mesh-clients", "monitoring", "restricted", "s3")
FACTS = {
    "ingressNamespace: istio-system": "ingressNamespace: edge",
    "ingressLabel: ingressgateway": "ingressLabel: public",
    "ingressServiceAccount: istio-ingressgateway-service-account": "ingressServiceAccount: edge-proxy",
    "istiodNamespace: istio-system": "istiodNamespace: control-plane",
}


def changed(tmp_path, file: str, changes: dict[str, str]) -> Manifests:
    """The dev overlay with everything in it, after an edit of one file."""
    tree = render.copy(tmp_path / "changed")
    path = tree / file
    text = path.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    overlay = tree / "overlays/dev/kustomization.yaml"
    added = "".join(f"- ../../components/{each}\n" for each in EVERYTHING)
    overlay.write_text(overlay.read_text().replace("components:\n- minio\n", f"components:\n{added}"))
    return render.build(tree / "overlays/dev")


def test_another_ingress_gateway_is_named_in_one_place(tmp_path):
    manifests = changed(tmp_path, "overlays/dev/cluster/config_map.yaml", FACTS)
    assert manifests.objects
    rest = [each for each in manifests.objects if "istio-system" in str(each) or "ingressgateway" in str(each)]
    assert rest == []
    assert {namespace(each) for each in manifests.of("WasmPlugin", "EnvoyFilter")} == {"embedding-gateway", "edge", "control-plane"}
    for policy in ("varnish", "endpoint-broadcaster"):
        source = manifests.get("AuthorizationPolicy", policy)["spec"]["rules"][0]["from"][0]["source"]
        assert source == {"principals": ["cluster.local/ns/edge/sa/edge-proxy"]}
    assert {each["spec"]["selector"]["istio"] for each in manifests.of("Gateway")} == {"public"}


def test_that_place_does_not_reach_the_cluster(dev: Manifests):
    assert dev.get("ConfigMap", "cluster") is None


def test_the_bucket_and_its_region_are_set_in_the_overlay(tmp_path):
    """Kustomize runs an overlay's components after its generators: a setting of a component would win."""
    setting = "  - ALLOW_ANONYMOUS_PURGE=true\n"
    added = {setting: f"{setting}  - AWS_REGION=eu-central-1\n  - S3_BUCKET=vectors\n"}
    manifests = changed(tmp_path, "overlays/dev/kustomization.yaml", added)
    assert manifests.get("ServiceEntry", "s3")["spec"]["hosts"] == ["s3.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com"]
    assert [each for each in manifests.objects if "us-east-1" in str(each)] == []
    assert "./*.amazonaws.com" in manifests.get("Sidecar", "embedding-gateway")["spec"]["egress"][0]["hosts"]
    # EKS adds its own region to a container that does not name one itself, and that one would win over the ConfigMap's.
    container = Pod(manifests.get("Deployment", "embedding-gateway")).spec["containers"][0]
    assert "AWS_REGION" in {each["name"] for each in container["env"]}
    given = container_environment(manifests, container)
    assert (given["AWS_REGION"], given["S3_BUCKET"], given["S3_ENDPOINT"]) == ("eu-central-1", "vectors", "")


def test_pod_identity_takes_the_place_of_the_roles_annotation(tmp_path):
    manifests = render.dev(render.Variant("pod identity", add=("eks-pod-identity", "private-endpoints"), remove=("minio",)), tmp_path)
    account = manifests.get("ServiceAccount", "embedding-gateway")
    assert [key for key in account["metadata"]["annotations"] if "amazonaws" in key] == []
    template = manifests.get("Deployment", "embedding-gateway")["spec"]["template"]["metadata"]["annotations"]
    assert template["traffic.sidecar.istio.io/excludeOutboundIPRanges"] == "169.254.170.23/32,fd00:ec2::23/128"
    rules = manifests.get("NetworkPolicy", "embedding-gateway")["spec"]["egress"]
    blocks = {peer["ipBlock"]["cidr"]: [port["port"] for port in rule["ports"]] for rule in rules for peer in rule["to"] if "ipBlock" in peer}
    # The agent, private endpoints, and the internet without what is inside.
    agent = {"169.254.170.23/32": [80], "fd00:ec2::23/128": [80]}
    assert blocks == agent | {"10.0.0.0/24": [443], "0.0.0.0/0": [443], "::/0": [443]}


def test_the_hosts_of_aws_in_china_are_let_out_and_called(tmp_path):
    manifests = render.dev(render.Variant("china", add=("s3", "s3-china"), remove=("minio",)), tmp_path)
    given = container_environment(manifests, Pod(manifests.get("Deployment", "embedding-gateway")).spec["containers"][0])
    hosts = [f"{service}.cn-north-1.amazonaws.com.cn" for service in ("s3", "sts")]
    assert manifests.get("ServiceEntry", "s3")["spec"]["hosts"] == hosts
    assert [given["S3_ENDPOINT"], given["AWS_ENDPOINT_URL_STS"]] == [f"https://{host}" for host in hosts]
    assert upstreams.named_by_variables_and_out_of_reach(manifests) == []
    manifests.get("ServiceEntry", "s3")["spec"]["hosts"] = ["s3.cn-north-1.amazonaws.com"]
    assert len(upstreams.named_by_variables_and_out_of_reach(manifests)) == 2


def test_another_namespace_is_refused_by_name(tmp_path):
    """No principal and no Sidecar would follow, and what stands beside the ingress gateway would move with the rest."""
    folder = render.copy(tmp_path) / "overlays/yours"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: [../dev]\nnamespace: team\n")
    with pytest.raises(render.DoesNotRender, match="the-namespace-is-embedding-gateway"):
        render.build(folder)
