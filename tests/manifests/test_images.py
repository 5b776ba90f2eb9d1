"""scripts/images.sh: what it builds, where it pushes, and that one run moves every place that names an image."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness.paths import ROOT

from . import render, workloads
from .objects import Manifests
from .schemas import skaffold_problems

# A tool and a cargo that write down what they are asked, and make what the script expects of them.
_TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
for last; do :; done
case $1 in build) ls "$last" >>"$CALLS" ;; esac
"""
_CARGO = """#!/bin/sh
echo "cargo $*" >>"$CALLS"
echo "of commit ${GIT_COMMIT-none}" >>"$CALLS"
mkdir -p target/x86_64-unknown-linux-musl/release target/wasm32-wasip1/release
touch target/x86_64-unknown-linux-musl/release/embedding-gateway target/x86_64-unknown-linux-musl/release/endpoint-broadcaster
touch target/wasm32-wasip1/release/body_hash_filter.wasm
"""
_SETUP = """#!/bin/sh
echo "setup $*" >>"$CALLS"
"""

# What the script says that the images are built from.
SOURCES = re.search(r"^readonly SOURCES=\((.*)\)$", (ROOT / "scripts/images.sh").read_text(), re.MULTILINE)[1].split()


@dataclass
class Checkout:
    """A repository with only what the script reads."""

    root: Path
    programs: Path
    calls: Path

    def run(self, *parts: str, tool: str = "podman", **variables: str) -> subprocess.CompletedProcess:
        self._program(tool, _TOOL)
        inherited = {"PATH": f"{self.programs}:{os.environ['PATH']}", "CALLS": str(self.calls), "TOOL": tool}
        command = [self.root / "scripts/images.sh", *parts]
        return subprocess.run(command, env=inherited | variables, capture_output=True, text=True, timeout=60)

    def _program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def commit(self) -> str:
        """Commits all that is there, and says how the script calls the commit."""
        git = ["git", "-C", self.root, "-c", "user.name=test", "-c", "user.email=test@example.com"]
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "All"]):
            subprocess.run([*git, *command], check=True)
        return subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()

    def asked(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def rendered(self) -> Manifests:
        return render.build(self.root / "kustomize/overlays/dev")


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    root = tmp_path / "root"
    render.copy(root)
    (root / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/images.sh", root / "scripts")
    programs = tmp_path / "programs"
    programs.mkdir()
    made = Checkout(root, programs, tmp_path / "calls")
    made._program("cargo", _CARGO)
    (root / "scripts/setup.sh").write_text(_SETUP)
    (root / "scripts/setup.sh").chmod(0o755)
    return made


def named(manifests: Manifests, word: str) -> set[str]:
    return {image for _, image in workloads.images(manifests) if word in image}


def test_both_images_are_built_pushed_and_set(checkout):
    done = checkout.run(REGISTRY="registry.example.com/team", TAG="0123abcd")
    assert done.returncode == 0, done.stderr
    asked = [line for line in checkout.asked() if line.startswith("podman push")]
    images = ["registry.example.com/team/embedding-gateway:0123abcd", "registry.example.com/team/body-hash-filter:0123abcd"]
    assert asked == [f"podman push {image}" for image in images]
    rendered = checkout.rendered()
    assert named(rendered, "embedding-gateway") == {images[0]}
    assert named(rendered, "body-hash-filter") == {f"oci://{images[1]}"}
    assert workloads.unpinned(rendered) == []


def test_the_commit_names_the_image_and_stands_in_the_program(checkout):
    commit = checkout.commit()
    checkout.run("backend", REGISTRY="r")
    assert f"podman push r/embedding-gateway:{commit}" in checkout.asked()
    assert f"of commit {commit}" in checkout.asked()


@pytest.mark.parametrize("source", SOURCES)
def test_an_image_of_what_is_not_committed_says_so(checkout, source):
    changed = checkout.root / source
    changed = changed / "file" if (ROOT / source).is_dir() else changed
    changed.parent.mkdir(exist_ok=True)
    changed.touch()
    commit = checkout.commit()
    changed.write_text("changed")
    checkout.run(REGISTRY="r")
    for image in ("embedding-gateway", "body-hash-filter"):
        assert f"podman push r/{image}:{commit}-dirty" in checkout.asked()
    assert f"of commit {commit}-dirty" in checkout.asked()


def test_without_a_commit_the_tag_must_be_named(checkout):
    done = checkout.run("backend", REGISTRY="r")
    assert (done.returncode, "TAG: set it" in done.stderr) == (1, True)
    assert checkout.run("backend", REGISTRY="r", TAG="0.0.1").returncode == 0
    assert "of commit none" in checkout.asked()


def test_a_context_holds_what_its_image_needs_and_no_more(checkout):
    checkout.run(REGISTRY="r", TAG="0.0.1")
    files = [line for line in checkout.asked() if " " not in line]
    assert files == ["embedding-gateway", "endpoint-broadcaster", "plugin.wasm"]
    for part in ("backend", "filter"):
        copied = next(line for line in (ROOT / part / "Containerfile").read_text().splitlines() if line.startswith("COPY"))
        assert set(copied.split()[1:-1]) <= set(files)


def test_tap_and_gate_move_together_and_everywhere(checkout):
    for tag in ("1.0.0", "2.0.0"):
        assert checkout.run("filter", REGISTRY="localhost:5000/a", TAG=tag).returncode == 0
    assert named(checkout.rendered(), "body-hash-filter") == {"oci://localhost:5000/a/body-hash-filter:2.0.0"}


def test_a_pin_that_was_never_set_is_refused_and_says_what_to_run(checkout):
    """Not by a Pod that cannot fetch its module: by the API server, which shows the value that it refuses."""
    definition = json.loads((Path(__file__).parent / "schemas/istio.json").read_text())["extensions.istio.io/v1alpha1/WasmPlugin"]
    (rule,) = definition["properties"]["spec"]["properties"]["url"]["x-kubernetes-validations"]
    taken = re.findall(r'"(\w*)"', rule["rule"].partition("[")[2].partition("]")[0])
    for url in named(checkout.rendered(), "body-hash-filter"):
        scheme, _, rest = url.partition("://")
        assert scheme not in taken and "run-scripts-images.sh-first" in rest
    assert checkout.run(REGISTRY="r", TAG="0.0.1").returncode == 0
    assert {url.partition("://")[0] for url in named(checkout.rendered(), "body-hash-filter")} == {"oci"} <= set(taken)


def test_the_other_pins_stay_as_they_are(checkout):
    pins = checkout.root / "kustomize/components/images/kustomization.yaml"
    before = {each["name"]: each for each in yaml.safe_load(pins.read_text())["images"]}
    checkout.run(REGISTRY="r", TAG="0.0.1")
    after = {each["name"]: each for each in yaml.safe_load(pins.read_text())["images"]}
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"embedding-gateway", "oci://body-hash-filter"}


@pytest.mark.parametrize(("registry", "flag"), [("localhost:5000/a", True), ("127.0.0.1/a", True), ("registry.example.com/a", False)])
def test_only_a_registry_of_this_machine_may_lack_tls(checkout, registry, flag):
    checkout.run("filter", REGISTRY=registry, TAG="0.0.1")
    assert any("--tls-verify=false" in line for line in checkout.asked()) is flag


def test_skaffold_names_the_image_and_only_the_filters_name_is_set(checkout):
    image = "registry.example.com/team/embedding-gateway:from-skaffold"
    assert checkout.run("backend", IMAGE=image, PUSH_IMAGE="true").returncode == 0
    assert f"podman push {image}" in checkout.asked()
    assert named(checkout.rendered(), "embedding-gateway") == {"embedding-gateway:0.1.0"}
    image = "registry.example.com/team/body-hash-filter:from-skaffold"
    assert checkout.run("filter", IMAGE=image, PUSH_IMAGE="false").returncode == 0
    assert f"podman push {image}" not in checkout.asked()
    assert named(checkout.rendered(), "body-hash-filter") == {f"oci://{image}"}


def test_the_module_for_a_config_map_is_put_where_its_component_looks(checkout):
    module = checkout.root / "kustomize/components/body-hash-file/plugin.wasm"
    module.unlink()
    assert checkout.run("file").returncode == 0
    assert module.exists()


@pytest.mark.parametrize(
    ("parts", "variables", "said"),
    [
        (["backend"], {}, "REGISTRY"),
        (["frontend"], {}, "there is no 'frontend'"),
        ([], {"IMAGE": "a:1"}, "IMAGE names one image"),
        (["filter"], {"REGISTRY": "r", "TAG": "1", "TOOL": "no-such-tool"}, "install docker, podman or buildah"),
    ],
)
def test_a_mistake_is_named(checkout, parts, variables, said):
    done = checkout.run(*parts, **variables)
    assert done.returncode != 0
    assert said in done.stderr


def test_skaffold_builds_what_the_overlay_names(dev: Manifests):
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    assert skaffold_problems(config) == []
    assert skaffold_problems(config | {"bild": {}}) != []
    artifacts = {each["image"]: each["custom"] for each in config["build"]["artifacts"]}
    rendered = {image.removeprefix("oci://").rpartition("/")[2].partition(":")[0] for _, image in workloads.images(dev)}
    assert artifacts.keys() <= rendered
    for custom in artifacts.values():
        assert (ROOT / custom["buildCommand"].split()[0]).exists()
        for path in custom["dependencies"]["paths"]:
            assert list(ROOT.glob(path)), path
    followed = {Path(path).parts[0] for custom in artifacts.values() for path in custom["dependencies"]["paths"]}
    assert followed == {*SOURCES, "scripts"}
    (overlay,) = config["manifests"]["kustomize"]["paths"]
    assert ROOT / overlay == render.KUSTOMIZE / "overlays/dev"
    for forward in config["portForward"]:
        service = dev.get("Service", forward["resourceName"])
        assert service is None or forward["port"] in {port["port"] for port in service["spec"]["ports"]}
