"""What kustomize/README.md says is there, is there."""

import json
import re

import yaml
from harness.paths import ROOT

from . import reach, render, waves
from .objects import Manifests, wave

README = (render.KUSTOMIZE / "README.md").read_text()


def test_every_component_stands_in_the_table():
    section = README.partition("## Components")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == render.COMPONENTS


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", README)
    assert [link for link in links if not link.startswith("https://") and not (render.KUSTOMIZE / link).exists()] == []


def test_every_path_is_there():
    named = set(re.findall(r"`((?:kustomize/|scripts/|tests/|overlays/|backend/|filter/)[\w./-]+)`", README))
    assert len(named) > 3
    # What scripts/images.sh writes is not in the repository.
    named -= {"overlays/pinned", "kustomize/overlays/pinned"}
    assert [path for path in sorted(named) if not ((ROOT / path).exists() or (render.KUSTOMIZE / path).exists())] == []


def _text(manifests: Manifests, changed: dict[str, str]) -> list[str]:
    whole = json.dumps(manifests.objects, sort_keys=True)
    for old, new in changed.items():
        assert old in whole
        whole = whole.replace(old, new)
    # A ConfigMap of other settings has another suffix.
    return sorted(re.sub(r'"embedding-gateway-[0-9a-z]{10}"', '"embedding-gateway"', whole).split('{"apiVersion": '))


def test_an_overlay_of_yours_on_top_of_another_changes_everything_that_follows(tmp_path):
    """As it stands in the text, with what revisions of the mesh want: no other line than those that it names differs."""
    overlay = yaml.safe_load(re.search(r"^```yaml\n(apiVersion: kustomize.*?)^```", README, re.MULTILINE | re.DOTALL)[1])
    revision = [{"op": "remove", "path": "/metadata/labels/istio-injection"}, {"op": "add", "path": "/metadata/labels/istio.io~1rev", "value": "canary"}]
    overlay["patches"].append({"target": {"kind": "Namespace"}, "patch": json.dumps(revision)})
    folder = render.copy(tmp_path) / "overlays/yours"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    yours = render.build(folder)
    inside = render.dev(render.Variant("inside", add=("in-mesh-clients",), overlay="production"), tmp_path / "inside")
    told = {f"embedding-gateway.kaidotio.dev{end}": f"api.example.com{end}" for end in ('"', ":")}
    told |= {".us-east-1.": ".eu-central-1.", '"us-east-1"': '"eu-central-1"'}
    told |= {'"S3_BUCKET": "embedding-gateway"': '"S3_BUCKET": "vectors"', '"istio-injection": "enabled"': '"istio.io/rev": "canary"'}
    assert _text(yours, {}) == _text(inside, told)
    kinds = [each["kind"] for each in yours.objects]
    assert kinds[0] == "Namespace" and kinds.index("NetworkPolicy") < kinds.index("Deployment")


def test_the_hosts_are_those_of_the_overlay(dev: Manifests):
    served = {host for gateway in dev.of("Gateway") for server in gateway["spec"]["servers"] for host in server["hosts"]}
    assert served == set(re.findall(r"[\w-]+\.minikube\.127\.0\.0\.1\.nip\.io", README))


def test_the_waves_are_those_of_the_overlay(dev: Manifests):
    section = README.partition("## Sync waves")[2].partition("\n## ")[0]
    told = {int(number.replace("−", "-")) for number in re.findall(r"^\| (−?\d) \|", section, re.MULTILINE)}
    assert told == {wave(each) for each in dev.objects} == set(range(waves.NAMESPACE, waves.REST + 1))


def test_the_table_of_who_may_do_what_has_a_row_for_each_that_is_tested():
    section = README.partition("## Who may do what")[2].partition("\n## ")[0]
    rows = [row for row in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE) if row[0] not in ("to", "---")]
    callers = sum(len(who.split(", ")) for to, who in rows if "api.openai.com" not in to)
    # `clients` come with their component.
    assert callers == len(reach.ALLOWED) - 1
