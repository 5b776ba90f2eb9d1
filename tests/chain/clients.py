"""Clients in their own languages: each is a program that takes calls and tells what the client made of them."""

import base64
import json
import os
import select
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import secrets
from harness.chain import environment
from harness.node import NODE
from harness.paths import TOOLS

_HERE = Path(__file__).parent
# A busy machine starts a JVM, or imports a framework, within this time.
ANSWER_SECONDS = 240


@dataclass(frozen=True)
class Kind:
    """What a client is: how it is run, and what it does by itself."""

    name: str
    runtime: str
    argument: str
    # What it asks for when its user says nothing.
    asks: str
    # Its own errors: for a model that is not there, and for too many requests.
    not_found: str
    rate_limit: str
    shows_headers: bool = False
    takes_format: bool = False
    # Whether it retries by itself, and obeys the headers that say when and whether.
    retries: bool = True
    obeys_retry_after: bool = True
    obeys_should_retry: bool = True
    # Seconds: longer than its own first pause.
    patience: int = 1
    # What an input becomes on its way.
    as_tokens: bool = False


@dataclass(frozen=True)
class Result:
    """What a client made of a call: vectors, or an error of its own."""

    vectors: list[bytes]
    headers: dict[str, str] | None = None
    error: str | None = None
    status: int | None = None
    message: str = ""



def command(runtime: str, binaries: Path) -> list:
    """How the program of a language is started."""
    return {
        "python": [TOOLS / "venv/bin/python", _HERE / "python/driver.py"],
        "langchain": [TOOLS / "langchain/bin/python", _HERE / "python/driver.py"],
        # An environment with the clients that are too large to be installed for each run of the tests.
        "more": [TOOLS / "more-clients/bin/python", _HERE / "python/driver.py"],
        "node": [NODE, _HERE / "driver.mjs"],
        "go": [binaries / "go"],
        # A start that is quick, not a program that is.
        "java": ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{TOOLS}/java-sdks/*", _HERE / "java/Driver.java"],
    }[runtime]


def build_go(binaries: Path) -> None:
    build = [TOOLS / "bin/go", "build", "-o", binaries / "go", "."]
    variables = os.environ | {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    subprocess.run(build, cwd=_HERE / "go", env=variables, check=True, timeout=600)


class Program:
    """The clients of one runtime: it takes one call after the other. Use as a context manager."""

    def __init__(self, runtime: str, binaries: Path) -> None:
        self._log = binaries / f"{runtime}.log"
        arguments = [str(part) for part in command(runtime, binaries)]
        with open(self._log, "ab") as output:
            self._child = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, env=environment(), cwd=_HERE
            )

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_) -> None:
        self._child.stdin.close()
        try:
            self._child.wait(ANSWER_SECONDS)
        finally:
            self._child.kill()
            self._child.stdout.close()

    def ask(self, call: dict) -> bytes:
        self._child.stdin.write(json.dumps(call).encode() + b"\n")
        self._child.stdin.flush()
        answered, _, _ = select.select([self._child.stdout], [], [], ANSWER_SECONDS)
        line = self._child.stdout.readline() if answered else b""
        assert line, f"{call['client']} did not answer:\n{self._log.read_text(errors='replace')}"
        secrets.told(f"the answer of {call['client']}", line)
        return line


@dataclass(frozen=True)
class Client:
    """One client, in the program of its runtime."""

    kind: Kind
    program: Program

    def ask(self, base_url: str, key: str, inputs: list[str], model: str, format: str | None = None, retries: int = 0) -> Result:
        call = {"base_url": base_url, "key": key, "model": model, "input": inputs, "format": format, "retries": retries}
        return _result(json.loads(self.program.ask(call | {"client": self.kind.argument})))


def _result(answer: dict) -> Result:
    if answer.get("error"):
        return Result([], error=answer["error"], status=answer.get("status"), message=answer["message"])
    headers = answer.get("headers")
    return Result([f32(vector) for vector in answer["vectors"]], headers and {name.lower(): value for name, value in headers.items()})


def f32(vector: list[float] | str) -> bytes:
    """Its numbers as the upstream made them, whatever they were written as."""
    return base64.b64decode(vector) if isinstance(vector, str) else struct.pack(f"<{len(vector)}f", *vector)
