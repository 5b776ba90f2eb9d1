"""The renderings that every test of this folder reads, made once."""

import pytest

from . import checkout as checkouts
from . import render
from .objects import Manifests


@pytest.fixture(scope="session", params=render.VARIANTS, ids=lambda variant: variant.name)
def variant(request, tmp_path_factory) -> Manifests:
    """Each overlay, and each of its variants."""
    return render.dev(request.param, tmp_path_factory.mktemp("variant"))


@pytest.fixture(scope="session")
def dev() -> Manifests:
    return render.build(render.KUSTOMIZE / "overlays/dev")


@pytest.fixture(scope="session")
def production() -> Manifests:
    return render.build(render.KUSTOMIZE / "overlays/production")


@pytest.fixture(scope="session")
def base() -> Manifests:
    return render.base()


@pytest.fixture(scope="session", params=render.CHANGING)
def alone(request, tmp_path_factory) -> Manifests:
    """Base with one component."""
    return render.base_with(request.param, tmp_path_factory.mktemp("alone"))


@pytest.fixture
def checkout(tmp_path) -> checkouts.Checkout:
    return checkouts.make(tmp_path)
