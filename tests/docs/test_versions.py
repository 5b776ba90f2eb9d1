"""Versions that stand in more than one place are the same everywhere."""

import re

import yaml
from documents import section
from harness.paths import ENVOY_VERSION, ENVOY_VERSIONS_WITHOUT_NATIVE, ENVOY_VERSIONS_WITHOUT_WASM, OTHER_ENVOY_VERSIONS, ROOT

README = ROOT / "README.md"
_VERSION = r"\d+\.\d+\.\d+"


def setting(file: str, name: str) -> str:
    """What a TOML file says of a name that it holds once."""
    (value,) = re.findall(rf'^{name} = "(.*)"$', (ROOT / file).read_text(), re.MULTILINE)
    return value


def pins() -> list[dict]:
    return yaml.safe_load((ROOT / "kustomize/components/images/kustomization.yaml").read_text())["images"]


def test_the_envoys_of_the_documents_are_those_that_are_tested():
    rows = re.findall(rf"^\| ({_VERSION}) \|", section(README, "## Compatibility"), re.MULTILINE)
    assert rows == [ENVOY_VERSION, *sorted([*OTHER_ENVOY_VERSIONS, *ENVOY_VERSIONS_WITHOUT_WASM], reverse=True)]
    wasm, _, native = section(ROOT / "filter/README.md", "## Versions").partition("the native module")
    assert re.findall(_VERSION, wasm) == [ENVOY_VERSION, *OTHER_ENVOY_VERSIONS]
    natively = {*OTHER_ENVOY_VERSIONS, *ENVOY_VERSIONS_WITHOUT_WASM} - {*ENVOY_VERSIONS_WITHOUT_NATIVE}
    assert re.findall(_VERSION, native) == [ENVOY_VERSION, *sorted(natively, reverse=True)]
    mesh = re.findall(rf"Envoy ({_VERSION}) in sidecars and Envoy ({_VERSION}) on", " ".join(README.read_text().split()))
    (istios,) = re.findall(rf'^ISTIOS_ENVOY = "({_VERSION})"$', (ROOT / "tests/mesh/machine/images.py").read_text(), re.MULTILINE)
    assert mesh == [(istios, ENVOY_VERSION)]


def test_our_own_version_is_one():
    version = setting("Cargo.toml", "version")
    assert set(re.findall(rf"body-hash-filter:({_VERSION})", README.read_text())) == {version}
    tags = {pin["name"]: pin["newTag"] for pin in pins()}
    assert tags["embedding-gateway"] == tags["oci://body-hash-filter"] == version


def test_the_compiler_is_the_oldest_that_is_promised():
    assert setting("rust-toolchain.toml", "channel") == setting("Cargo.toml", "rust-version") + ".0"


def test_the_varnish_of_the_image_is_the_one_that_is_told():
    (tag,) = (pin["newTag"] for pin in pins() if pin["name"] == "docker.io/library/varnish")
    assert f"| Varnish {tag} | the image;" in section(ROOT / "kustomize/README.md", "## Versions")
