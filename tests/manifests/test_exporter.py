"""Varnish's exporter: reads the Varnish beside it, is read by the sidecar alone, and changes nothing of Varnish's own container."""

import re

import pytest

from harness.paths import ROOT

from . import render
from .objects import Manifests, Object, Pod, container_environment


@pytest.fixture(scope="module")
def manifests(tmp_path_factory) -> Manifests:
    variant = render.Variant("exporter", add=("monitoring", "varnish-exporter"))
    return render.dev(variant, tmp_path_factory.mktemp("exporter"))


@pytest.fixture(scope="module")
def pod(manifests) -> Pod:
    return Pod(manifests.get("StatefulSet", "embedding-gateway-varnish"))


def flags(container: Object) -> dict[str, str]:
    return dict(zip(container["args"][::2], container["args"][1::2], strict=True))


def test_it_reads_the_working_directory_of_the_varnish_beside_it(manifests, pod):
    varnish, exporter = pod.spec["containers"]
    assert flags(exporter)["-n"] == container_environment(manifests, varnish)["WORK_DIR"]
    (mounted,) = exporter["volumeMounts"]
    assert mounted == next(each for each in varnish["volumeMounts"] if each["name"] == mounted["name"]) | {"readOnly": True}
    assert "shareProcessNamespace" not in pod.spec, "it sees Varnish's files and no more"


def test_only_the_sidecar_can_read_it_and_monitoring_reads_the_sidecar(manifests, pod):
    annotations = pod.template["metadata"]["annotations"]
    host, _, port = flags(pod.spec["containers"][1])["-web.listen-address"].partition(":")
    assert (host, port) == ("127.0.0.1", annotations["prometheus.io/port"])
    assert (annotations["prometheus.io/scrape"], annotations["prometheus.io/path"]) == ("true", "/metrics")
    assert "proxy.istio.io/config" in annotations, "what other parts say of the pod stays"
    (endpoint,) = manifests.get("PodMonitor", "embedding-gateway")["spec"]["podMetricsEndpoints"]
    (read,) = (each["replacement"].rpartition(":")[2] for each in endpoint["relabelings"] if each.get("targetLabel") == "__address__")
    allowed = manifests.get("NetworkPolicy", "monitoring")["spec"]["ingress"][0]["ports"]
    assert int(read) in {each["port"] for each in allowed}


def test_varnishs_own_container_is_as_it_was(dev: Manifests, pod):
    assert pod.spec["containers"][0] == Pod(dev.get("StatefulSet", "embedding-gateway-varnish")).spec["containers"][0]
    assert pod.ports == {"http": 6081}


def test_its_varnishstat_is_of_the_varnish_that_runs(pod):
    containerfile = (ROOT / "kustomize/components/varnish-exporter/Containerfile").read_text()
    assert re.search(r"^FROM (\S+)$", containerfile, re.MULTILINE)[1] == pod.spec["containers"][0]["image"]
    assert re.search(r"^USER (\d+):\d+\nENTRYPOINT", containerfile, re.MULTILINE)[1] == str(pod.spec["securityContext"]["runAsUser"])


def test_the_dashboards_panels_of_varnish_ask_for_its_series():
    dashboard = (ROOT / "kustomize/components/monitoring/dashboard.json").read_text()
    assert {"varnish_main_cache_hit", "varnish_main_cache_miss", "varnish_main_s_pass", "varnish_sma_g_bytes"} <= set(re.findall(r"varnish_\w+", dashboard))
