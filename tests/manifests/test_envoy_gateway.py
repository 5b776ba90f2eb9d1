"""`envoy/envoy-gateway.yaml`: objects that Envoy Gateway takes, and that agree with each other and with the filter."""

import re

import yaml

from harness.paths import ROOT

from .objects import Manifests
from .schemas import unknown_to_their_apis

EXAMPLE = Manifests(list(yaml.safe_load_all((ROOT / "envoy/envoy-gateway.yaml").read_text())))


def test_every_object_is_one_that_envoy_gateway_takes():
    assert unknown_to_their_apis(EXAMPLE) == []


def test_a_policy_uses_a_module_that_is_allowed_and_mounted():
    proxy = EXAMPLE.get("EnvoyProxy", "body-hash")["spec"]
    (used,) = EXAMPLE.get("EnvoyExtensionPolicy", "body-hash")["spec"]["dynamicModule"]
    (allowed,) = [each for each in proxy["dynamicModules"] if each["name"] == used["name"]]
    deployment = proxy["provider"]["kubernetes"]["envoyDeployment"]
    (mount,), (volume,) = deployment["container"]["volumeMounts"], deployment["pod"]["volumes"]
    copied = re.search(r"AS native\nCOPY (\S+) /\1$", (ROOT / "filter/Containerfile").read_text(), re.MULTILINE)[1]
    assert allowed["source"]["local"]["path"] == f"{mount['mountPath']}/{copied}"
    assert mount["name"] == volume["name"] and "body-hash-filter-native:" in volume["image"]["reference"]
    sources = "".join(path.read_text() for path in (ROOT / "filter").rglob("src/**/*.rs"))
    assert all(f'optional("{field}"' in sources for field in used["config"])


def test_a_clients_own_header_is_removed_on_every_route():
    removed = EXAMPLE.get("ClientTrafficPolicy", "body-hash")["spec"]["headers"]["earlyRequestHeaders"]["remove"]
    assert removed == ["x-body-hash"]
