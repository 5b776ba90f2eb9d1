"""Names as a Pod sees them: search domains, ndots, /etc/hosts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .pod import PODS, VARNISH_PORT

TESTS = Path(__file__).resolve().parents[1]
UNSHARE = ["unshare", "--map-root-user", "--net", "--mount"]
FULL = "varnish-headless.ns.svc.cluster.test."


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict:
    """What the broadcaster said in a Pod, by the name that it was given."""
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces")
    command = [*UNSHARE, "--kill-child", sys.executable, "-m", "broadcaster.pod", tmp_path_factory.mktemp("pod")]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["varnish-headless", "varnish-headless.ns", FULL.rstrip("."), FULL])
def test_a_name_is_completed_by_the_search_domains_and_every_pod_hears_it_as_it_was_given(said, name):
    assert said[name]["status"] == 200
    assert said[name]["pods"] == [f"{name}:{VARNISH_PORT}@{address}" for address in PODS]


def test_a_name_with_its_last_dot_is_asked_for_at_once(said):
    assert said[FULL]["asked"] == [FULL]


def test_what_stands_in_etc_hosts_is_asked_of_nobody(said):
    name = "varnish-in-hosts"
    assert said[name]["pods"] == [f"{name}:{VARNISH_PORT}@{address}" for address in PODS]
    assert said[name]["asked"] == []


def test_a_name_that_is_nowhere_has_no_address(said):
    assert said["varnish-nowhere"]["status"] == 503
    assert "varnish-nowhere." in said["varnish-nowhere"]["asked"]
