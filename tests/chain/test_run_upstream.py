"""Which upstream `scripts/run.sh` takes, and which model its hints name."""

import json
import os
import re
import subprocess

import openai
import pytest
from harness.chain import RUN, environment, start_chain, stop_chain
from harness.paths import ROOT
from harness.ports import free_port
from harness.secrets import secret
from keyless import VECTOR, KeylessServer

UPSTREAM = ROOT / "scripts/run/upstream.sh"


def shell(command: str, text: str = "", **variables: str) -> subprocess.CompletedProcess:
    """A command that knows the functions of upstream.sh."""
    script = f"set -euo pipefail; source {UPSTREAM}; {command}"
    return subprocess.run(
        ["bash", "-c", script], input=text, env=environment(**variables), capture_output=True, text=True, timeout=120
    )


def example_model(server: KeylessServer | str) -> str:
    base_url = server if isinstance(server, str) else server.base_url
    return shell('example_model "$OPENAI_BASE_URL"', OPENAI_BASE_URL=base_url).stdout


def test_a_local_server_without_a_key_is_the_upstream(tmp_path):
    with KeylessServer(["llama3.2:3b", "nomic-embed-text:latest"]) as server:
        running = start_chain(tmp_path, OPENAI_BASE_URL=server.base_url)
        try:
            assert running.upstream == server.base_url
            hints = re.findall(r'"?model"?[:=]"([^"]+)"', running.output)
            assert hints == ["nomic-embed-text:latest"] * 2
            client = openai.OpenAI(base_url=running.openai_url, api_key=secret("keyless"), max_retries=0)
            for _ in range(2):
                answer = client.embeddings.create(model=hints[0], input="hello")
                assert answer.data[0].embedding == VECTOR
            assert server.asked == ["hello"]
        finally:
            stop_chain(running)
    assert "stand-in" not in running.output


def test_with_neither_a_key_nor_a_base_url_the_stand_in_plays_openai(chain):
    assert chain.upstream_stats()["embeddings"]["inputs"] == 0
    assert set(re.findall(r'"?model"?[:=]"([^"]+)"', chain.output)) == {"text-embedding-3-small"}


@pytest.mark.parametrize("spelling", ["http://127.0.0.1:{}/v1", "http://localhost:{}/v1/", "http://[::1]:{}"])
def test_the_gateway_itself_is_no_upstream(spelling):
    port = free_port()
    variables = environment(PORT=str(port), OPENAI_BASE_URL=spelling.format(port))
    answer = subprocess.run([RUN], env=variables, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 1
    assert "is this gateway itself" in answer.stderr


@pytest.mark.parametrize(
    ("models", "named"),
    [
        (["llama3", "mxbai-embed-large"], "mxbai-embed-large"),
        (["BAAI/bge-m3"], "BAAI/bge-m3"),
        (["llama3", "mistral"], "llama3"),
        (["it's $(here)", "a\nb", "plain"], "plain"),
    ],
)
def test_the_hints_name_a_model_that_the_upstream_has(models, named):
    with KeylessServer(models) as server:
        assert example_model(server) == f"{named}\n"
        assert example_model(f"{server.base_url}/") == f"{named}\n"


@pytest.mark.parametrize("models", [[], ["not plain"]])
def test_an_upstream_that_names_no_model_leaves_a_place_for_one(models):
    with KeylessServer(models) as server:
        assert example_model(server) == "MODEL\n"


def test_an_upstream_that_is_not_there_leaves_a_place_for_a_model():
    assert example_model(f"http://127.0.0.1:{free_port()}/v1") == "MODEL\n"


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"data":null}', '{"data":[{"name":"x"}]}', '{"data":[{"id":7}]}'])
def test_what_is_no_list_of_models_names_none(answer):
    done = shell("pick_model", answer)
    assert (done.returncode != 0, done.stdout) == (True, "")


def test_the_key_is_no_argument_of_a_command(tmp_path):
    """The arguments of a command can be read by every user of the machine."""
    key, curl = secret("listing"), tmp_path / "curl"
    curl.write_text('#!/bin/bash\nprintf "%s\\n" "$*" >"$0.arguments"\ncat >"$0.input"\n')
    curl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    shell("models_of 'https://models.example/v1/?api-version=1'", PATH=path, OPENAI_API_KEY=key)
    told = (tmp_path / "curl.input").read_text()
    (tmp_path / "curl.input").unlink()
    assert json.loads(told.removeprefix("header = ")) == f"Authorization: Bearer {key}"
    assert (tmp_path / "curl.arguments").read_text().endswith(" https://models.example/v1/models?api-version=1\n")
