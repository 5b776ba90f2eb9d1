"""What other clusters want: pull secrets, users of their own, Argo CD, an autoscaler that looks at the program alone."""

from collections.abc import ItemsView

import yaml

from . import render
from .objects import Manifests, Object, Pod, fits, ingress, namespace, plugins


def test_a_password_for_the_registry_reaches_everything_that_is_fetched(tmp_path):
    manifests = render.dev(render.Variant("pull-secret", add=("in-mesh-clients", "pull-secret")), tmp_path)
    assert {each["metadata"]["name"] for each in manifests.of("ServiceAccount")} == {pod.account for pod in manifests.pods()}
    assert all(each["imagePullSecrets"] == [{"name": "registry"}] for each in manifests.of("ServiceAccount"))
    found = list(plugins(manifests))
    assert len(found) == 6 and all(spec["imagePullSecret"] == "registry" for _, spec in found)


def test_a_password_for_the_registry_reaches_a_traffic_extension(tmp_path):
    manifests = render.dev(render.Variant("both", add=("traffic-extension", "pull-secret")), tmp_path)
    assert [each["spec"]["wasm"]["imagePullSecret"] for each in manifests.of("TrafficExtension")] == ["registry"] * 4


def test_pod_security_is_enforced_in_production_and_told_in_dev(dev: Manifests, production: Manifests):
    def level(manifests: Manifests, mode: str) -> str | None:
        return manifests.get("Namespace", "embedding-gateway")["metadata"]["labels"].get(f"pod-security.kubernetes.io/{mode}")

    assert [level(production, mode) for mode in ("enforce", "warn", "audit")] == ["restricted"] * 3
    assert [level(dev, mode) for mode in ("enforce", "warn", "audit")] == [None, "restricted", "restricted"]


def test_the_gateway_of_production_reaches_who_decides_on_purges(production: Manifests):
    """Where README.md says that the provider runs, on oauth2-proxy's port."""
    policy = production.get("NetworkPolicy", "embedding-gateway-ingress-ext-authz")["spec"]
    assert fits(ingress(production).labels, policy["podSelector"]["matchLabels"])
    (rule,) = policy["egress"]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "oauth2-proxy"}}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 4180}]


def test_the_vaults_keys_are_those_that_are_read(tmp_path):
    """All of them are optional: of another name they would be missing without a word."""
    manifests = render.dev(render.Variant("vault", add=("external-secrets",)), tmp_path)
    (external,) = (each["spec"] for each in manifests.of("ExternalSecret"))
    backend = Pod(manifests.get("Deployment", "embedding-gateway")).spec
    asked = [each["valueFrom"]["secretKeyRef"] for each in backend["containers"][0]["env"] if "secretKeyRef" in each.get("valueFrom", {})]
    read = {each["key"] for each in asked if each["name"] == external["target"]["name"]}
    volumes = (each["secret"] for each in backend["volumes"] if "secret" in each)
    read |= {item["key"] for each in volumes if each["secretName"] == external["target"]["name"] for item in each["items"]}
    assert {each["secretKey"] for each in external["data"]} == read == {"api-key", "client-keys"}


def test_openshift_names_the_users_and_base_names_one(tmp_path, base: Manifests):
    manifests = render.dev(render.Variant("openshift", add=("openshift",)), tmp_path)
    for pod in manifests.pods():
        context = pod.spec["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
        assert context["runAsNonRoot"] is True and context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(pod.spec["securityContext"]["runAsUser"] > 0 for pod in base.pods())


def test_the_project_of_argo_cd_allows_what_the_overlays_bring(dev: Manifests, production: Manifests):
    project = yaml.safe_load((render.KUSTOMIZE / "argocd/app_project.yaml").read_text())["spec"]
    everything = [*dev.objects, *production.objects]
    spaces = {namespace(each) for each in everything if namespace(each)}
    assert {each["namespace"] for each in project["destinations"]} == spaces
    groups = {("" if "/" not in each["apiVersion"] else each["apiVersion"].partition("/")[0], each["kind"]) for each in everything if not namespace(each)}
    assert {(each["group"], each["kind"]) for each in project["clusterResourceWhitelist"]} == groups


def test_the_application_of_argo_cd_is_of_that_project_and_applies_by_the_server():
    application = yaml.safe_load((render.KUSTOMIZE / "argocd/application.yaml").read_text())["spec"]
    project = yaml.safe_load((render.KUSTOMIZE / "argocd/app_project.yaml").read_text())
    assert application["project"] == project["metadata"]["name"]
    assert application["source"]["repoURL"] in project["spec"]["sourceRepos"]
    assert "ServerSideApply=true" in application["syncPolicy"]["syncOptions"]


def test_the_autoscaler_looks_at_a_container_that_is_there(base: Manifests):
    """The whole pod's CPU would count the sidecar's."""
    for scaler in base.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        names = {each["name"] for each in Pod(base.get(target["kind"], target["name"])).containers}
        for metric in scaler["spec"]["metrics"]:
            assert metric["type"] == "ContainerResource"
            assert metric["containerResource"]["container"] in names


def test_what_the_operator_of_prometheus_reads_is_selected_by_its_usual_chart(production: Manifests):
    for each in production.of("PodMonitor", "PrometheusRule", "ServiceMonitor"):
        assert each["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def spread(pods: Object) -> ItemsView[str, str]:
    """The labels of those that are not to share one node."""
    (rule,) = pods["topologySpreadConstraints"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    return rule["labelSelector"]["matchLabels"].items()


def test_all_that_must_survive_a_drain_has_two_replicas_and_a_budget(production: Manifests):
    budgets = [each["spec"] for each in production.of("PodDisruptionBudget")]
    least = {each["spec"]["scaleTargetRef"]["name"]: each["spec"]["minReplicas"] for each in production.of("HorizontalPodAutoscaler")}
    for workload in production.of("Deployment", "StatefulSet"):
        name = workload["metadata"]["name"]
        assert least.get(name, workload["spec"].get("replicas", 1)) >= 2, name
        labels = Pod(workload).labels.items()
        assert any(each["selector"]["matchLabels"].items() <= labels and each["maxUnavailable"] == 1 for each in budgets), name
        assert spread(Pod(workload).spec) <= labels, name
    (merged,) = (each["data"] for each in production.of("ConfigMap") if "podDisruptionBudget" in each.get("data", {}))
    assert yaml.safe_load(merged["horizontalPodAutoscaler"])["spec"]["minReplicas"] >= 2
    assert yaml.safe_load(merged["podDisruptionBudget"])["spec"] == {"maxUnavailable": 1}
    pods = yaml.safe_load(merged["deployment"])["spec"]["template"]["spec"]
    assert spread(pods) <= ingress(production).labels.items()
    assert yaml.safe_load(merged["deployment"])["spec"]["template"]["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
