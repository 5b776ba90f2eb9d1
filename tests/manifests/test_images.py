"""scripts/images.sh: what it builds, where it pushes, and that one run moves every place that names an image."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.client import answers, send
from harness.paths import ROOT
from harness.ports import free_port
from harness.processes import Process
from harness.waiting import eventually
from mesh.machine import images as machine

from . import render, workloads
from .checkout import DIGEST, Checkout
from .objects import WORKLOADS, Manifests
from .pins import UNSET
from .schemas import skaffold_problems

# What the script says that the images are built from.
SOURCES = re.search(r"^readonly SOURCES=\((.*)\)$", (ROOT / "scripts/images.sh").read_text(), re.MULTILINE)[1].split()


def named(manifests: Manifests, word: str) -> set[str]:
    return {image for _, image in workloads.images(manifests) if word in image}


def pushed(checkout: Checkout) -> list[str]:
    return [line.split()[-1] for line in checkout.asked() if line.startswith("podman push")]


def test_both_images_are_built_pushed_and_set(checkout):
    done = checkout.run(REGISTRY="registry.example.com/team", TAG="0123abcd")
    assert done.returncode == 0, done.stderr
    asked = [line for line in checkout.asked() if line.startswith("podman push")]
    repositories = ["registry.example.com/team/embedding-gateway", "registry.example.com/team/body-hash-filter"]
    assert [line.split()[-1] for line in asked] == [f"{each}:0123abcd" for each in repositories]
    rendered = checkout.rendered()
    images = [f"{each}@{DIGEST}" for each in repositories]
    assert named(rendered, "embedding-gateway") == {images[0]}
    assert named(rendered, "body-hash-filter") == {f"oci://{images[1]}"}
    assert workloads.unpinned(rendered) == []
    assert done.stdout.split()[-2:] == images


def test_no_file_that_git_follows_is_written(checkout):
    """A build leaves the checkout clean, and dev keeps the names that skaffold.yaml knows."""
    (checkout.root / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    checkout.commit()
    before = checkout.rendered("dev")
    assert checkout.run(REGISTRY="r", TAG="0.0.1").returncode == 0
    assert checkout.run("backend", IMAGE="r/embedding-gateway:1").returncode == 0
    assert subprocess.check_output(["git", "-C", checkout.root, "status", "--porcelain"], text=True) == ""
    assert checkout.rendered("dev") == before


def titles(manifests: Manifests) -> list[tuple[str, str]]:
    return [(each["kind"], each["metadata"]["name"]) for each in manifests.objects]


def test_policies_still_come_first(checkout, dev: Manifests):
    """kubectl creates in this order, and kustomize takes it from the last layer alone: else pods would run before their policies."""
    assert checkout.run("backend", REGISTRY="r", TAG="0.0.1").returncode == 0
    for overlay in ("pinned", "skaffold"):
        assert titles(checkout.rendered(overlay)) == titles(dev), overlay


def test_another_overlay_can_be_pinned_and_the_other_image_stays(checkout):
    assert checkout.run(REGISTRY="r", TAG="0.0.1").returncode == 0
    assert checkout.run("filter", REGISTRY="q", TAG="0.0.1", OVERLAY="production").returncode == 0
    rendered = checkout.rendered()
    assert rendered.get("HTTPRoute", "embedding-gateway")
    assert named(rendered, "body-hash-filter") == {f"oci://q/body-hash-filter@{DIGEST}"}
    assert named(rendered, "embedding-gateway") == {f"r/embedding-gateway@{DIGEST}"}


@pytest.mark.parametrize("tool", ["podman", "buildah", "docker"])
def test_images_for_two_processors_are_one_index(checkout, tool):
    done = checkout.run("backend", tool=tool, REGISTRY="r", TAG="1.2.3", PLATFORMS="amd64 arm64")
    assert done.returncode == 0, done.stderr
    asked = checkout.asked()
    # This machine's by its own linker, the other's by zig.
    built = [line.split()[1] for line in asked if line.startswith("cargo")]
    assert sorted(built) == ["build", "zigbuild"]
    assert [line for line in asked if line.startswith("setup")] == [f"setup rust {'musl' if each == 'build' else 'cross'}" for each in built]
    for platform in ("amd64", "arm64"):
        image = f"r/embedding-gateway:1.2.3-{platform}"
        assert any(f"--platform linux/{platform}" in line and f"--tag {image} " in line for line in asked)
        assert any(line.startswith(f"{tool} push") and line.endswith(image) for line in asked)
    if tool == "docker":
        assert "docker buildx imagetools create --tag r/embedding-gateway:1.2.3 r/embedding-gateway:1.2.3-amd64 r/embedding-gateway:1.2.3-arm64" in asked
    else:
        assert f"{tool} manifest create r/embedding-gateway:1.2.3" in asked
        assert any(line.startswith(f"{tool} manifest push --all") and line.endswith("docker://r/embedding-gateway:1.2.3") for line in asked)
    assert done.stdout.split()[-1] == f"r/embedding-gateway@{DIGEST}"


@pytest.mark.skipif(not (shutil.which("buildah") and shutil.which("docker-registry")), reason="buildah and docker-registry are not here")
@pytest.mark.skipif(os.geteuid() != 0, reason="buildah wants root here")
def test_a_real_registry_gets_one_index_of_both_processors(checkout, tmp_path):
    port = free_port()
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(tmp_path / "blobs")}}, "http": {"addr": f"127.0.0.1:{port}"}}
    (tmp_path / "registry.yml").write_text(json.dumps(settings))
    storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/images"\nrunroot = "{tmp_path}/run"\n'
    (tmp_path / "storage.conf").write_text(storage)
    for part in ("backend", "filter"):
        (checkout.root / part).mkdir(exist_ok=True)
        shutil.copy(ROOT / part / "Containerfile", checkout.root / part)
    registry = Process([shutil.which("docker-registry"), "serve", tmp_path / "registry.yml"], tmp_path / "registry.log")
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}", "/v2/"))
        variables = {"BUILDAH_ISOLATION": "chroot", "CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf")}
        done = checkout.run_with("buildah", REGISTRY=f"127.0.0.1:{port}", TAG="1.2.3", PLATFORMS="amd64 arm64", **variables)
        assert done.returncode == 0, done.stderr
        accept = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"}
        index = send(f"http://127.0.0.1:{port}", "GET", "/v2/embedding-gateway/manifests/1.2.3", headers=accept)
    finally:
        registry.kill()
    assert [each["platform"]["architecture"] for each in index.json["manifests"]] == ["amd64", "arm64"]
    pinned = named(checkout.rendered(), "embedding-gateway")
    assert pinned == {f"127.0.0.1:{port}/embedding-gateway@sha256:{hashlib.sha256(index.body).hexdigest()}"}


def test_the_filter_may_have_another_registry_in_the_cluster(checkout):
    """On minikube the node reaches the registry by a port of its own, and pods by the name of a Service."""
    assert checkout.run(REGISTRY="localhost:5000", CLUSTER_REGISTRY="registry.kube-system.svc.cluster.local", TAG="1").returncode == 0
    rendered = checkout.rendered()
    assert named(rendered, "body-hash-filter") == {f"oci://registry.kube-system.svc.cluster.local/body-hash-filter@{DIGEST}"}
    assert named(rendered, "embedding-gateway") == {f"localhost:5000/embedding-gateway@{DIGEST}"}


def test_a_processor_that_is_not_known_is_refused(checkout):
    done = checkout.run("backend", REGISTRY="r", TAG="1", PLATFORMS="riscv64")
    assert done.returncode != 0 and "PLATFORMS: there is no 'riscv64'" in done.stderr

def test_the_commit_names_the_image_and_stands_in_the_program(checkout):
    commit = checkout.commit()
    checkout.run("backend", REGISTRY="r")
    assert pushed(checkout) == [f"r/embedding-gateway:{commit}"]
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
    assert pushed(checkout) == [f"r/{image}:{commit}-dirty" for image in ("embedding-gateway", "body-hash-filter")]
    assert f"of commit {commit}-dirty" in checkout.asked()


def test_the_backend_is_built_with_the_profile_that_ships_unless_another_is_named(checkout):
    for variables, profile in (({}, "release"), ({"BUILD_PROFILE": "laptop"}, "laptop")):
        assert checkout.run("backend", REGISTRY="r", TAG="1", **variables).returncode == 0
        assert f" --profile {profile} " in [line for line in checkout.asked() if line.startswith("cargo")][-1]


def test_part_mesh_runs_the_published_backend_where_it_is_asked_to(checkout, monkeypatch):
    """Its own pins stand beside those of the script, and the backend is built once: another digest would roll it."""
    pins = checkout.root / "kustomize/overlays/pinned/kustomization.yaml"
    monkeypatch.delenv("MESH_IMAGES", raising=False)
    assert machine.parts_of_scripts_images(pins) == ["filter"]
    monkeypatch.setenv("MESH_IMAGES", "release")
    parts = machine.parts_of_scripts_images(pins)
    assert parts == ["backend", "filter"]
    said = checkout.run(*parts, REGISTRY="registry.test:5000", TAG="1")
    assert said.stdout.split()[-1] == f"registry.test:5000/body-hash-filter@{DIGEST}"
    machine.pin(pins)
    assert machine.parts_of_scripts_images(pins) == ["filter"]
    assert named(checkout.rendered(), "embedding-gateway") == {f"registry.test:5000/embedding-gateway@{DIGEST}"}
    assert pins.read_text().count("newName: docker.io/library/") == 2


def test_part_mesh_pins_what_it_makes_of_this_machine(checkout):
    assert checkout.run("filter", REGISTRY="r", TAG="1").returncode == 0
    machine.pin(checkout.root / "kustomize/overlays/pinned/kustomization.yaml")
    assert named(checkout.rendered(), "embedding-gateway") == {"docker.io/library/embedding-gateway:0.1.0"}
    assert [each for each in checkout.rendered().objects if "run-scripts-images.sh-first" in str(each)] == []


def test_without_a_commit_the_tag_must_be_named(checkout):
    done = checkout.run("backend", REGISTRY="r")
    assert (done.returncode, "TAG: set it" in done.stderr) == (1, True)
    assert checkout.run("backend", REGISTRY="r", TAG="0.0.1").returncode == 0
    assert "of commit none" in checkout.asked()


def test_a_context_holds_what_its_image_needs_and_no_more(checkout):
    checkout.run("backend", "filter", "native", REGISTRY="r", TAG="0.0.1")
    files = [line for line in checkout.asked() if " " not in line]
    assert files == ["embedding-gateway", "endpoint-broadcaster", "plugin.wasm", "libbody_hash_filter.so"]
    for part in ("backend", "filter"):
        copied = [line.split()[1:-1] for line in (ROOT / part / "Containerfile").read_text().splitlines() if line.startswith("COPY")]
        assert {file for each in copied for file in each} <= set(files)


def test_tap_and_gate_move_together_and_everywhere(checkout):
    for tag in ("1.0.0", "2.0.0"):
        assert checkout.run("filter", REGISTRY="localhost:5000/a", TAG=tag).returncode == 0
        assert named(checkout.rendered(), "body-hash-filter") == {f"oci://localhost:5000/a/body-hash-filter@{DIGEST}"}


def test_a_filter_that_was_never_pinned_is_refused_and_says_what_to_run(checkout):
    """Not by a Pod that cannot fetch its module: by the API server, which shows the value that it refuses."""
    definition = json.loads((Path(__file__).parent / "schemas/istio.json").read_text())["extensions.istio.io/v1alpha1/WasmPlugin"]
    (rule,) = definition["properties"]["spec"]["properties"]["url"]["x-kubernetes-validations"]
    taken = re.findall(r'"(\w*)"', rule["rule"].partition("[")[2].partition("]")[0])
    for url in named(checkout.rendered("dev"), "body-hash-filter"):
        scheme, _, rest = url.partition("://")
        assert scheme not in taken and "run-scripts-images.sh-first" in rest
    assert checkout.run(REGISTRY="r", TAG="0.0.1").returncode == 0
    assert {url.partition("://")[0] for url in named(checkout.rendered(), "body-hash-filter")} == {"oci"} <= set(taken)


@pytest.mark.parametrize(("registry", "flag"), [("localhost:5000/a", True), ("127.0.0.1/a", True), ("registry.example.com/a", False)])
def test_only_a_registry_of_this_machine_may_lack_tls(checkout, registry, flag):
    checkout.run("filter", REGISTRY=registry, TAG="0.0.1")
    assert any("--tls-verify=false" in line for line in checkout.asked()) is flag


def test_skaffold_names_the_image_and_nothing_is_pinned(checkout):
    image = "registry.example.com/team/embedding-gateway:from-skaffold"
    assert checkout.run("backend", IMAGE=image, PUSH_IMAGE="true").returncode == 0
    assert pushed(checkout) == [image]
    unpushed = "registry.example.com/team/body-hash-filter:from-skaffold"
    assert checkout.run("filter", IMAGE=unpushed, PUSH_IMAGE="false").returncode == 0
    assert pushed(checkout) == [image]
    assert not (checkout.root / "kustomize/overlays/pinned").exists()


def test_skaffold_meets_its_artifacts_whatever_was_pinned_before(checkout):
    """Else `images.sh`, then `skaffold dev`, would deploy what was pushed then."""
    assert checkout.run(REGISTRY="r", TAG="0.0.1").returncode == 0
    artifacts = {each["image"] for each in yaml.safe_load((ROOT / "skaffold.yaml").read_text())["build"]["artifacts"]}
    rendered = checkout.rendered("skaffold")
    found = {image.rpartition(":")[0] for word in artifacts for image in named(rendered, word)}
    assert found == artifacts


def test_the_module_for_a_config_map_is_put_where_its_component_looks(checkout):
    module = checkout.root / "kustomize/components/body-hash-file/plugin.wasm"
    module.unlink()
    assert checkout.run("file").returncode == 0
    assert module.exists()


def test_the_native_module_is_one_image_for_both_processors_and_is_pinned(checkout):
    done = checkout.run("native", REGISTRY="r", TAG="1.0.0", PLATFORMS="amd64 arm64")
    assert done.returncode == 0, done.stderr
    builds = [line for line in checkout.asked() if "zigbuild" in line]
    assert [re.search(r"--target (\S+)", line)[1] for line in builds] == [f"{processor}-unknown-linux-gnu.2.28" for processor in ("x86_64", "aarch64")]
    assert pushed(checkout) == [f"r/body-hash-filter-native:1.0.0-{platform}" for platform in ("amd64", "arm64")]
    assert any(line.startswith("podman manifest push") and line.endswith("docker://r/body-hash-filter-native:1.0.0") for line in checkout.asked())
    assert all("--target native" in line for line in checkout.asked() if " build --" in line)
    pins = (checkout.root / "kustomize/overlays/pinned/kustomization.yaml").read_text()
    assert f"- name: {UNSET}/body-hash-filter-native\n  newName: r/body-hash-filter-native\n  digest: {DIGEST}\n" in pins
    dev = checkout.root / "kustomize/overlays/dev/kustomization.yaml"
    dev.write_text(dev.read_text().replace("- ../../components/images\n", "- ../../components/body-hash-native\n- ../../components/images\n"))
    assert f"r/body-hash-filter-native@{DIGEST}" in named(checkout.rendered(), "native")


def test_the_exporter_is_built_from_its_containerfile_and_pinned(checkout):
    assert checkout.run("exporter", REGISTRY="r", TAG="1.0.0").returncode == 0
    (build,) = [line for line in checkout.asked() if " build --" in line]
    (containerfile,) = re.findall(r"--file (\S+)", build)
    assert Path(containerfile).is_relative_to(checkout.root) and Path(containerfile).exists()
    dev = checkout.root / "kustomize/overlays/dev/kustomization.yaml"
    dev.write_text(dev.read_text().replace("components:\n", "components:\n- ../../components/varnish-exporter\n"))
    assert named(checkout.rendered(), "exporter") == {f"r/varnish-exporter@{DIGEST}"}


def test_pins_that_an_older_script_wrote_take_a_name_that_it_did_not_know(checkout):
    assert checkout.run("filter", REGISTRY="r", TAG="1.0.0").returncode == 0
    pins = checkout.root / "kustomize/overlays/pinned/kustomization.yaml"
    pins.write_text(pins.read_text().replace(f"- name: {UNSET}/varnish-exporter\n", "").replace("sortOptions:\n  order: fifo\n", ""))
    for _ in range(2):
        assert checkout.run("exporter", REGISTRY="r", TAG="1.0.0").returncode == 0
        assert pins.read_text().count(f"- name: {UNSET}/varnish-exporter\n  newName: r/varnish-exporter\n") == 1
        assert pins.read_text().count("sortOptions:\n  order: fifo\n") == 1


def test_pins_by_the_names_that_an_older_script_wrote_hold(checkout):
    assert checkout.run("backend", REGISTRY="r", TAG="1.0.0").returncode == 0
    pins = checkout.root / "kustomize/overlays/pinned/kustomization.yaml"
    pins.write_text(pins.read_text().replace(f"{UNSET}/", ""))
    assert checkout.run("filter", REGISTRY="r", TAG="1.0.0").returncode == 0
    assert pins.read_text().count("- name: ") == 4
    assert named(checkout.rendered(), "embedding-gateway") == {f"r/embedding-gateway@{DIGEST}"}


@pytest.mark.parametrize(("platforms", "processor"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_the_native_module_for_a_config_map_is_of_the_processor_that_is_named(checkout, platforms, processor):
    assert checkout.run("native-file", PLATFORMS=platforms).returncode == 0
    module = checkout.root / "kustomize/components/body-hash-native-file/libbody_hash_filter.so"
    assert module.read_text().strip() == processor


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


def test_skaffold_follows_the_filter_into_every_object_that_names_it(dev: Manifests):
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    assert config["build"]["tagPolicy"] == {"inputDigest": {}}
    followed = {each["groupKind"]: each["image"] for each in config["resourceSelector"]["allow"]}
    named_by = {f"{each['kind']}.{each['apiVersion'].partition('/')[0]}" for each in dev.objects if "body-hash-filter:" in str(each.get("spec"))}
    assert named_by == followed.keys()
    assert followed["WasmPlugin.extensions.istio.io"] == [".spec.url"]


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
    layer = yaml.safe_load((ROOT / overlay / "kustomization.yaml").read_text())
    assert (ROOT / overlay / layer["resources"][0]).resolve() == render.KUSTOMIZE / "overlays/dev"
    for forward in config["portForward"]:
        service = dev.get("Service", forward["resourceName"])
        assert service is None or forward["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_skaffolds_native_profile_follows_the_native_module(tmp_path):
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    (profile,) = config["profiles"]
    added, replaced = profile["patches"]
    assert (added["op"], added["path"]) == ("add", "/build/artifacts/-")
    assert (replaced["op"], replaced["path"]) == ("replace", "/manifests/kustomize/paths/0")
    rendered = render.build(ROOT / replaced["value"])
    followed = {image for _, image in workloads.images(rendered) if image.startswith(f"{added['value']['image']}:")}
    assert followed and not any("reference" in volume.get("image", {}) for pod in rendered.pods() for volume in pod.spec.get("volumes", []))
    assert (ROOT / added["value"]["custom"]["buildCommand"].split()[0]).exists()
    for path in added["value"]["custom"]["dependencies"]["paths"]:
        assert list(ROOT.glob(path)), path
    assert rendered.get("EnvoyFilter", "body-hash-native", "embedding-gateway")
    first = next(number for number, (kind, _) in enumerate(titles(rendered)) if kind in WORKLOADS)
    assert ("NetworkPolicy", "default-deny") in titles(rendered)[:first]
