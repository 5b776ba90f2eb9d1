"""What `scripts/run.sh` promises on the command line."""

import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import openai
import pytest
from harness import programs
from harness.chain import RUN, environment, start_chain, stop_chain
from harness.processes import cpu_seconds
from harness.secrets import secret

# Of setting up, and of finding out that all is built; the programs that it starts are not counted.
WARM_START_CPU_SECONDS = 6


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [RUN, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=120
    )


def test_help_names_the_variables():
    answer = run("--help")
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in ("PORT", "OPENAI_API_KEY", "OPENAI_BASE_URL", "RUN_DIR", "BUILD_PROFILE"))


def test_a_taken_port_is_a_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = run(PORT=str(port))
    assert answer.returncode == 1
    assert f"127.0.0.1:{port} is taken" in answer.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80 80"])
def test_what_is_no_port_is_a_clear_error(port):
    answer = run(PORT=port)
    assert answer.returncode == 1
    assert "is not a port" in answer.stderr


def test_what_is_no_profile_is_a_clear_error():
    answer = run(BUILD_PROFILE="debug")
    assert answer.returncode == 1
    assert "BUILD_PROFILE: 'debug' is neither laptop nor release" in answer.stderr


def test_each_step_says_how_long_it_took_and_cargo_what_it_builds(chain):
    steps = re.findall(r"^([a-z ,-]+) \.\.\.\n(?:.*\n)*?\1: done in \d+ s$", chain.output, re.MULTILINE)
    apart = ["stand-in"] if programs.PROFILE == "release" else []
    assert steps == ["tools", "filter", "programs", *apart]
    assert chain.output.count(f"Finished `{programs.PROFILE}` profile") == 2 + len(apart)


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_warm_start_is_quick_and_a_signal_ends_all_it_started(chain, tmp_path, with_signal):
    second = start_chain(tmp_path)
    # With other work beside it the same start takes more seconds of the clock.
    assert cpu_seconds(second.process.pid) < WARM_START_CPU_SECONDS

    addresses = [second.url, *re.findall(r"http://127\.0\.0\.1:\d+", second.output)]
    assert stop_chain(second, with_signal) == 0
    for address in addresses:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=2)
    members = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True)
    assert members.stdout == "", "a process that it started is still there"


def test_what_was_paid_for_survives_a_restart(chain, tmp_path):
    key = secret("restart")

    def ask(running, *words):
        client = openai.OpenAI(base_url=running.openai_url, api_key=key, max_retries=0)
        return [item.embedding for item in client.embeddings.create(model="text-embedding-3-small", input=words).data]

    first = start_chain(tmp_path)
    kept, too = ask(first, "kept", "too")
    assert stop_chain(first) == 0

    second = start_chain(tmp_path, STORE_TIMEOUT="30s")
    try:
        # A restart forgets which keys the upstream takes: this call earns the key its hits anew.
        ask(second, "new")
        assert ask(second, "too", "kept") == [too, kept]
        assert second.upstream_stats()["embeddings"]["inputs"] == 1
    finally:
        stop_chain(second)
