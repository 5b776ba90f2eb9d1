"""The end of a process whose files do not answer, as those of a network file system that is gone."""

import hashlib
import os
import time

import pytest
from harness import programs, secrets
from harness.processes import Process
from harness.secrets import secret

# Less than the grace, and more than a busy machine needs.
SOON_SECONDS = 20


@pytest.fixture
def silent(tmp_path):
    """A pipe without a writer: opening it never returns."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def begin(tmp_path):
    started = []

    def start_process(**variables: str) -> Process:
        own = {"LISTEN": "127.0.0.1:0", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": secret("upstream")}
        environment = {"PATH": os.environ["PATH"]} | secrets.talkative | own | variables
        started.append(Process([programs.GATEWAY], tmp_path / "gateway.log", env=environment))
        return started[-1]

    yield start_process
    for process in started:
        process.stop()


@pytest.mark.parametrize("variable", ["CLIENT_KEYS_FILE", "UPSTREAM_CA_FILE"])
def test_a_file_that_does_not_answer_is_named(variable, silent, begin):
    others = {} if variable == "CLIENT_KEYS_FILE" else {"ALLOW_ANONYMOUS": "true"}
    process = begin(**others, **{variable: str(silent)})
    assert process.wait(SOON_SECONDS) == 1
    assert f"{variable}: " in process.log_text() and "timed out" in process.log_text()


def test_sigterm_ends_a_start_that_hangs(silent, begin):
    process = begin(CLIENT_KEYS_FILE=str(silent))
    time.sleep(1)
    process.terminate(SOON_SECONDS)


def test_a_file_that_hangs_later_does_not_keep_the_process(tmp_path, silent, begin):
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(secret("client").encode()).hexdigest())
    process = begin(CLIENT_KEYS_FILE=str(keys))
    programs.url_of(process)
    silent.rename(keys)
    # It is read every 2 s.
    time.sleep(3)
    assert process.terminate(SOON_SECONDS) == 0
