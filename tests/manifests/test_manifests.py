"""Everything that `kubectl apply -k` would send: accepted by its APIs, and true to itself."""

import pytest

from . import mesh, pins, reach, references, schemas, upstreams, waves, workloads
from .objects import Manifests

ALWAYS = (pins.starts_unpinned, schemas.unknown_to_their_apis, workloads.unpinned, workloads.unrestricted)
CHECKS = ALWAYS + (
    mesh.filters_side_by_side,
    mesh.hosts_of_nothing,
    mesh.plugins_that_differ,
    mesh.routes_that_repeat,
    mesh.services_that_are_asked_twice,
    reach.internal_addresses_are_shut_out,
    reach.modules_out_of_reach,
    reach.unguarded,
    reach.wrong_paths,
    references.left_unset,
    references.names_of_nothing,
    references.policies_of_nobody,
    references.probes_of_no_port,
    references.secrets_by_value,
    references.selectors_of_nothing,
    references.services_without_pods,
    upstreams.named_by_variables_and_out_of_reach,
    upstreams.upstreams_out_of_reach,
    waves.in_the_wrong_wave,
    waves.names_what_comes_later,
    waves.starts_before_its_policy,
    workloads.ends_too_early,
    workloads.proxies_that_leave_first,
    workloads.too_large_to_apply,
    workloads.unlabelled,
    workloads.varnish_without_room,
    workloads.without_resources,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_dev_overlay_and_its_variants_have_no(variant: Manifests, check):
    assert check(variant) == []


@pytest.mark.parametrize("check", ALWAYS, ids=lambda check: check.__name__)
def test_base_with_a_component_alone_has_no(alone: Manifests, check):
    assert check(alone) == []


def test_base_is_valid_on_its_own(base: Manifests):
    assert [problem for check in ALWAYS for problem in check(base)] == []
    assert references.services_without_pods(base) == references.probes_of_no_port(base) == []
    # The one thing that it does not bring.
    assert {each.partition(": ")[2] for each in references.names_of_nothing(base)} == {"there is no Secret minio-secret"}


def test_base_knows_no_environment(base: Manifests):
    assert workloads.with_resources(base) == []
    assert all("namespace" not in each["metadata"] for each in base.objects)
    assert {each["apiVersion"] for each in base.objects} == {"v1", "apps/v1", "autoscaling/v2", "policy/v1"}
