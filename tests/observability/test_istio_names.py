"""In Istio the filter's reasons stay in the statistic's name: the PodMonitor's relabelling makes of them what envoy/*.yaml makes."""

import re

import yaml
from harness import http1
from harness.envoy import Envoy
from harness.paths import ROOT
from harness.ports import moved, replacements
from prometheus import Prometheus, job

POD_MONITOR = ROOT / "kustomize/components/monitoring/pod_monitor.yaml"


def relabelling() -> list[dict]:
    """The PodMonitor's metricRelabelings, as Prometheus itself spells them."""
    (endpoint,) = yaml.safe_load(POD_MONITOR.read_text())["spec"]["podMetricsEndpoints"]
    return [{re.sub("[A-Z]", lambda capital: f"_{capital.group().lower()}", key): value for key, value in rule.items()} for rule in endpoint["metricRelabelings"]]


def envoy_without_tags() -> dict:
    """The pair as Istio would run it: without our stats_config, on free ports."""
    text = (ROOT / "envoy/pair.yaml").read_text()
    configuration = yaml.safe_load(moved(text, replacements(9901, 10000, 10001)))
    del configuration["stats_config"]
    return configuration


def test_the_pod_monitor_gives_the_native_module_the_same_names(tmp_path):
    ports = replacements(9901, 10000, 10001)
    configuration = yaml.safe_load(moved((ROOT / "envoy/native.yaml").read_text(), ports))
    with Envoy(configuration, tmp_path / "envoy") as envoy:
        assert http1.request(envoy.port("front"), "GET", "/").status == 200
        assert http1.request(envoy.port("front"), "POST", "/", body=b"body").status == 200
        scraped = job("envoy", envoy.admin, metrics_path="/stats/prometheus", metric_relabel_configs=relabelling())
        with Prometheus([scraped], tmp_path / "prometheus") as prometheus:
            moment = prometheus.settle()
            (skipped,) = prometheus.query("body_hash_skipped", moment)
            assert (skipped["metric"]["reason"], skipped["value"][1]) == ("no_body", "1")
            for name, value in (("body_hash_hashed", "1"), ("body_hash_held", "0")):
                assert [each["value"][1] for each in prometheus.query(name, moment)] == [value]


def test_the_pod_monitor_makes_a_label_of_the_reason(tmp_path):
    with Envoy(envoy_without_tags(), tmp_path / "envoy") as envoy:
        assert "body_hash_skipped_no_body{} 0" in envoy.get("/stats/prometheus")
        assert http1.request(envoy.port("front"), "GET", "/").status == 200
        scraped = job("envoy", envoy.admin, metrics_path="/stats/prometheus", metric_relabel_configs=relabelling())
        with Prometheus([scraped], tmp_path / "prometheus") as prometheus:
            moment = prometheus.settle()
            found = prometheus.query("body_hash_skipped", moment)
            assert prometheus.query("body_hash_hashed", moment)[0]["value"][1] == "0"
    counts = {each["metric"]["reason"]: each["value"][1] for each in found}
    assert counts["no_body"] == "1"
    assert len(counts) == 10
    assert {value for reason, value in counts.items() if reason != "no_body"} == {"0"}
