"""The tool on a real bucket: what it writes a gateway serves, and a decoder that shares no code with it reads."""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from harness import cache_object, programs, secrets
from harness.gateway import ANY_KEY
from harness.s3 import BUCKET
from harness.waiting import eventually

MODEL = "text-embedding-3-small"
SECONDS = 60
COUNT = 300
random.seed(18)
RECORDS = [(f"imported {number} ö", [random.uniform(-1, 1) for _ in range(8)]) for number in range(COUNT)]


def tool(upstream: str, variables: dict[str, str], *arguments) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "OPENAI_BASE_URL": f"{upstream}/v1"} | variables
    return subprocess.run([programs.GATEWAY, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=SECONDS)


@pytest.fixture
def bucket(s3, request):
    """A part of the bucket that no other test uses."""
    return s3.variables(STORE=f"s3://{BUCKET}/{request.node.name}")


@pytest.fixture
def imports(tmp_path, standin, bucket):
    file, caller = tmp_path / "vectors.jsonl", tmp_path / "caller"
    file.write_text("".join(json.dumps({"input": text, "embedding": vector}) + "\n" for text, vector in RECORDS))
    secrets.given(caller, ANY_KEY)
    return ["import", file, "--model", MODEL, "--dimensions", 8, "--caller", caller]


def floats(numbers) -> bytes:
    return cache_object.floats(numbers)


def test_what_is_imported_into_a_bucket_is_served_verified_and_exported(start, accept, standin, bucket, imports, tmp_path):
    done = tool(standin.url, bucket, *imports)
    assert (done.returncode, done.stdout.split("; ")[-1]) == (0, f"{COUNT} written\n"), done.stderr
    again = tool(standin.url, bucket, *imports)
    assert again.stdout.endswith(f"; 0 written, {COUNT} there already\n"), again.stderr

    gateway = start(**bucket)
    accept(gateway)
    answer = gateway.embed([text for text, _ in RECORDS])
    assert answer.cache_status == "embedding-gateway; hit"
    assert [floats(item["embedding"]) for item in answer.json["data"]] == [floats(vector) for _, vector in RECORDS]
    assert [standin.times_asked(text) for text, _ in RECORDS] == [0] * COUNT

    verified = tool(standin.url, bucket, "verify", "--resume", tmp_path / "position")
    assert (verified.returncode, verified.stdout) == (0, ""), verified.stderr
    exported = tool(standin.url, bucket, "export", "--model", MODEL, "--dimensions", 8)
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    # The gateway's own small call is among them.
    assert {floats(vector) for _, vector in RECORDS} <= {floats(line["embedding"]) for line in lines}
    assert [line["key"] for line in lines] == sorted(line["key"] for line in lines)
    stats = json.loads(tool(standin.url, bucket, "stats", "--format", "json").stdout)
    assert stats["total"]["vectors"] == len(lines) >= COUNT


def test_an_import_is_dated_before_a_purge_that_comes_later(start, accept, standin, bucket, imports):
    token = secrets.secret("tool-purge")
    assert tool(standin.url, bucket, *imports).returncode == 0
    gateway = start(**bucket, ADMIN_TOKEN=token)
    accept(gateway)
    assert gateway.purge(token, **{"surrogate-key": f"model:{MODEL}"}).status == 200
    assert gateway.embed(RECORDS[0][0]).headers["x-embedding-billed-tokens"] != "0"
    refused = tool(standin.url, bucket, *imports)
    assert refused.returncode == 1 and "would be missing at once" in refused.stderr
    assert tool(standin.url, bucket, *imports, "--created", "2999-01-01").returncode == 0
    eventually(lambda: gateway.embed(RECORDS[1][0]).headers["x-embedding-billed-tokens"] == "0", what="the imported vector")


@pytest.mark.parametrize("command", ["stats", "verify", "export", "import"])
@pytest.mark.parametrize(("wrong", "words"), [("bucket", "NoSuchBucket"), ("secret", "SignatureDoesNotMatch"), ("rights", "AccessDenied")])
def test_a_store_that_is_not_there_or_refuses_is_told_without_a_secret(s3, standin, imports, command, wrong, words):
    variables = {
        "bucket": s3.variables(STORE="s3://absent/x", S3_BUCKET="absent"),
        "secret": s3.variables(AWS_SECRET_ACCESS_KEY=secrets.secret("wrong-of-the-tool")),
        "rights": s3.narrow(),
    }[wrong]
    failed = tool(standin.url, variables, *(imports if command == "import" else [command]))
    assert (failed.returncode, words in failed.stderr) == (1, True), failed.stderr
    assert variables["AWS_ACCESS_KEY_ID"] not in failed.stderr


def test_a_verification_that_is_killed_goes_on(start, standin, bucket, imports, tmp_path):
    assert tool(standin.url, bucket, *imports).returncode == 0
    position = tmp_path / "position"
    environment = {"PATH": os.environ["PATH"]} | bucket
    command = [programs.GATEWAY, "verify", "--concurrency", "1", "--resume", position]
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    eventually(position.exists, what="the file")
    killed.send_signal(signal.SIGINT)
    assert killed.wait(SECONDS) in (0, 1)
    done = tool(standin.url, bucket, "verify", "--resume", position)
    assert done.returncode == 0 and f"verified: {COUNT} objects" in done.stderr, done.stderr
    assert not Path(position).exists()
