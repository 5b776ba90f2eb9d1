"""Which components go together: every two of them render in some variant, or kustomize refuses them and names both."""

import itertools

import pytest
import yaml

from . import render

# Of each of these an overlay has one at the most.
EXCLUSIVE = [
    ("ambient", "body-hash-file", "body-hash-native", "body-hash-single"),
    ("ambient", "in-mesh-clients"),
    ("body-hash-ingress", "gateway-api"),
    ("body-hash-native-file", "body-hash-native-init"),
    ("body-hash-single", "pull-secret"),
    ("gateway-api", "ingress"),
    ("gateway-api", "purge-oauth2"),
    # Both servers in the cluster bring one Job, whose name kustomize says first.
    ("minio", "s3"),
    ("s3", "seaweedfs"),
]
PAIRS = sorted({pair for each in EXCLUSIVE for pair in itertools.permutations(each, 2)})


def built(folder, *components: str) -> None:
    """Base with these, as they stand, and without what is named as a resource twice."""
    overlay = render.copy(folder) / "overlays/pair"
    overlay.mkdir()
    before = dict.fromkeys(each for component in components for each in render.BEHIND.get(component, ()) if each not in components)
    paths = [f"../../components/{each}" for each in (*before, *components)]
    resources = ["../../base", *(path for path in paths if path.rpartition("/")[2] not in render.CHANGING)]
    content = {"resources": resources, "components": [path for path in paths if path not in resources]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    render.build(overlay)


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_one_of_two_that_do_not_go_together_is_refused_in_either_order(tmp_path, pair):
    """Rendered, the one would do nothing or undo the other, and nothing would say so."""
    with pytest.raises(render.DoesNotRender) as refused:
        built(tmp_path, *pair)
    one_of = next(word for word in str(refused.value).replace(chr(92), "").split('"') if word.startswith("one-of-"))
    assert set(pair) <= set(one_of.removeprefix("one-of-").split("-or-"))


@pytest.mark.parametrize("component", sorted(render.BEHIND))
def test_what_stands_behind_another_is_refused_without_it(tmp_path, component):
    """Rendered, its patches would find nothing."""
    overlay = render.copy(tmp_path) / "overlays/alone"
    overlay.mkdir()
    needed = render.BEHIND[component][-1]
    content = {"resources": ["../../base"], "components": [f"../../components/{each}" for each in (component, *render.BEHIND[component])]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(render.DoesNotRender, match=f"components/{component}.*nothing selected by"):
        render.build(overlay)
    text = (render.KUSTOMIZE / f"components/{component}/kustomization.yaml").read_text()
    assert f"refuses this component where {needed} does not stand before it" in text


def left() -> list[tuple[str, str]]:
    """Pairs that stand in no variant, and in no set of those above."""
    variants = (sorted(each.components()) for each in render.VARIANTS + render.AMBIENT)
    rendered = {pair for each in variants for pair in itertools.combinations(each, 2)}
    return [pair for pair in itertools.combinations(render.COMPONENTS, 2) if pair not in rendered | set(PAIRS)]


@pytest.mark.parametrize("pair", left(), ids="+".join)
def test_every_other_two_render_or_are_refused_by_name(tmp_path, pair):
    """By what the one stands behind or brings, and the other goes not with. A component that is new stands in no variant yet."""
    try:
        built(tmp_path, *pair)
    except render.DoesNotRender as refused:
        assert "one-of-" in str(refused) or "already registered id" in str(refused)
