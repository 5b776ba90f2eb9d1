"""The autoscaler without load: what test_scale.py has left comes down, while other tests ask little."""

import pytest
from cluster.gateway import NAMESPACE
from cluster.waiting import until
from test_scale import SECONDS, replicas


@pytest.fixture
def figures(mesh, gateway):
    """For the last time: what comes after this would be scaled as well."""
    yield
    mesh.stop_measuring()


def test_the_backend_scales_down_without_load(mesh, gateway, figures):
    until(lambda: replicas(mesh) == 1, SECONDS, "one pod without load")
    until(lambda: mesh.settled(NAMESPACE), SECONDS, "the rest is gone")
