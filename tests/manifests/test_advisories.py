"""No pin has an open advisory. advisories.json is read offline: look again, and set its date, whenever a pin moves."""

import json
import re
from pathlib import Path

import pytest
import yaml
from harness.paths import ENVOY_VERSION, ROOT

KNOWN = json.loads((Path(__file__).parent / "advisories.json").read_text())
# Built here; the last on the image of Varnish, which is in the list.
OWN = {"embedding-gateway", "oci://body-hash-filter", "body-hash-filter-native", "varnish-exporter"}

Version = tuple[int, ...]


def version(tag: str) -> Version:
    """The numbers of a tag, in order."""
    return tuple(int(number) for number in re.findall(r"\d+", tag))


def affected(tag: str, advisory: dict) -> bool:
    """A line (major and minor) that has a fixed release is judged by it; what is older than all of them has none."""
    found, fixed = version(tag), [version(each) for each in advisory["fixed"]]
    if found < version(advisory.get("introduced", "0")):
        return False
    return found < next((each for each in fixed if each[:2] == found[:2]), max(fixed))


def open_advisories(name: str, tag: str) -> list[str]:
    return [each["id"] for each in KNOWN["advisories"] if each["of"] == name and affected(tag, each)]


def pins() -> dict[str, str]:
    images = yaml.safe_load((ROOT / "kustomize/components/images/kustomization.yaml").read_text())["images"]
    return {each["name"]: each["newTag"] for each in images if each["name"] not in OWN} | {"envoy": ENVOY_VERSION}


@pytest.mark.parametrize(("name", "tag"), pins().items())
def test_no_pin_has_an_open_advisory(name, tag):
    assert open_advisories(name, tag) == [], f"as of {KNOWN['checked']}"


def test_something_is_known_of_every_pin_and_of_nothing_else():
    assert {each["of"] for each in KNOWN["advisories"]} == pins().keys()
    assert all(each["source"].startswith("https://") for each in KNOWN["advisories"])


@pytest.mark.parametrize(
    ("name", "tag", "count"),
    [
        ("docker.io/library/varnish", "7.7.3", 2),
        ("docker.io/library/varnish", "8.0.2-1", 1),
        ("docker.io/library/varnish", "9.0.0", 2),
        ("docker.io/library/varnish", "9.0.3-5", 1),
        ("docker.io/library/varnish", "9.0.4", 0),
        ("docker.io/library/varnish", "6.0.17", 0),
        ("docker.io/pgsty/silo", "RELEASE.2026-06-18T00-00-00Z", 1),
        ("quay.io/curl/curl", "8.21.0", 1),
        ("docker.io/chrislusf/seaweedfs", "4.4", 1),
        ("envoy", "1.36.4", 2),
        ("envoy", "1.36.12", 0),
        ("envoy", "1.39.2", 1),
    ],
)
def test_a_pin_with_open_advisories_is_found(name, tag, count):
    assert len(open_advisories(name, tag)) == count
