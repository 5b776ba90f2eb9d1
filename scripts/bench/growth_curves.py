"""What grows in each curve: the contenders at its points, and what is asked of them."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contender import Contender
from harness.client import Answer, send
from harness.gateway import Gateway
from harness.standin import Standin
from measuring import MEASURED_CORES, OTHER_CORES, on_cores
from peers_gateways import HEADERS, PATH, QUIET, vectors
from varnish.varnish import start
from wrk import Numbers

MODEL = "text-embedding-3-small"
TEXT = "A customer asks how to return a parcel that arrived too late; this is passage number @ of the manual."
# Where not the vectors are in question but all around them.
SHORT = 8
# The stand-in takes 8,192 tokens of 4 bytes an input.
INPUT_BYTES = 32 << 10
MEMORY = "1GiB"
# Distinct bodies that are asked for where it matters that Varnish and one vector do not answer all.
USUAL_KEYS = 1000
FILL = 2048


@dataclass
class Case:
    """A point of a curve: the programs and the request."""

    contender: Contender
    body: bytes
    file: Path
    connections: int = 16
    numbers: Numbers | None = None


@dataclass
class Curves:
    """Starts what the curves need, on the core that is measured."""

    folder: Path
    standin: Standin
    stack: ExitStack
    _right: dict[tuple[str, bytes], bytes] = field(default_factory=dict)

    def inputs(self, encoding: str) -> dict[int, Case]:
        """Hits in memory, so many inputs in one request."""
        gateway = self._gateway(f"inputs-{encoding}")
        counts = (1, 4, 16, 64, 256, 1024, 2048)
        return {count: self._case(gateway, request(_texts(0, count), encoding), connections=1) for count in counts}

    def keys(self) -> dict[int, Case]:
        """Hits in memory among so many short vectors, each as likely as the others."""
        return {count: self._keys(count) for count in (1_000, 10_000, 100_000, 1_000_000)}

    def connections(self) -> dict[int, Case]:
        """Hits in memory over so many connections."""
        gateway = self._gateway("connections")
        body = request(_texts(0, 1), "base64")
        return {count: self._case(gateway, body, connections=count) for count in (1, 4, 16, 64, 256, 1024)}

    def bodies(self) -> dict[int, Case]:
        """Hits in memory of short vectors, for long inputs."""
        gateway = self._gateway("bodies")
        sizes = [1 << power for power in range(10, 21, 2)]
        return {size: self._case(gateway, request(_long(size), "base64", SHORT)) for size in sizes}

    def replicas(self) -> dict[int, Case]:
        """Hits in the memory of so many gateways behind one Varnish, which passes them on: they have no body hash."""
        return {count: self._replicas(count) for count in (1, 2, 3, 4)}

    def _keys(self, count: int) -> Case:
        gateway = self._gateway(f"keys-{count}", MEMORY_CACHE_BYTES=MEMORY)
        for first in range(0, count, FILL):
            body = request(_texts(first, min(FILL, count - first)), "base64", SHORT)
            if send(gateway.url, "POST", PATH, body, HEADERS).status != 200:
                raise RuntimeError("the memory could not be filled")
        return self._numbered(gateway, count)

    def _replicas(self, count: int) -> Case:
        gateways = [self._gateway(f"replica-{count}-{number}") for number in range(count)]
        folder = self.folder / f"varnish-{count}"
        with on_cores(MEASURED_CORES):
            varnish = start(folder, 1, backend_vcl=balanced([gateway.port for gateway in gateways]))
        self.stack.callback(varnish.process.stop)
        processes = [varnish.process, *(process for gateway in gateways for process in gateway.processes)]
        return self._numbered(Contender(f"replicas-{count}", processes, varnish.port, self.check, PATH, HEADERS), USUAL_KEYS)

    def _numbered(self, contender: Contender, keys: int) -> Case:
        """One short input, of a number by chance."""
        file = self.folder / "numbered"
        template = request([TEXT], "base64", SHORT)
        file.write_bytes(template)
        return self._case(contender, template.replace(b"@", b"0"), file, numbers=Numbers(0, keys))

    def _gateway(self, name: str, **variables: str) -> Contender:
        with on_cores(MEASURED_CORES):
            gateway = Gateway(self.folder / name, self.standin.url, RUST_LOG=QUIET, **variables)
        self.stack.callback(gateway.process.stop)
        return Contender(name, [gateway.process], int(gateway.url.rpartition(":")[2]), self.check, PATH, HEADERS)

    def _case(self, contender: Contender, body: bytes, file: Path | None = None, **more) -> Case:
        """Its answer is compared with the upstream's vectors once, and from then on with itself."""
        if file is None:
            file = self.folder / f"{contender.name}-{len(body)}"
            file.write_bytes(body)
        answers = [send(url, "POST", PATH, body, HEADERS) for url in (self.standin.url, contender.url)]
        upstream, own = (vectors(answer) for answer in answers)
        if upstream != own:
            raise RuntimeError(f"{contender.name}: other vectors than the upstream's")
        self._right[contender.name, body] = answers[1].body
        return Case(contender, body, file, **more)

    def check(self, contender: Contender, body: bytes) -> Answer:
        answer = send(contender.url, "POST", PATH, body, HEADERS)
        if answer.status != 200 or answer.body != self._right[contender.name, body]:
            raise RuntimeError(f"{contender.name}: {answer.status}, or another answer than before: {answer.body[:300]}")
        return answer


@contextmanager
def running() -> Iterator[Curves]:
    """With an upstream; all ends with it."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        # varnishd drops its rights, and reads here.
        folder.chmod(0o755)
        with on_cores(OTHER_CORES):
            standin = Standin(folder / "standin")
        stack.callback(standin.process.stop)
        yield Curves(folder, standin, stack)


def request(texts: list[str], encoding: str, dimensions: int | None = None) -> bytes:
    body = {"model": MODEL, "input": texts if len(texts) > 1 else texts[0], "encoding_format": encoding}
    return json.dumps(body | ({"dimensions": dimensions} if dimensions else {})).encode()


def _texts(first: int, count: int) -> list[str]:
    return [TEXT.replace("@", str(number)) for number in range(first, first + count)]


def _long(size: int) -> list[str]:
    """Texts that make a body of about this size."""
    return [str(number).ljust(min(size, INPUT_BYTES) - 100, "x") for number in range(max(1, size // INPUT_BYTES))]


def balanced(ports: list[int]) -> str:
    """backend.vcl for several replicas, which get requests in turn."""
    backends = [f'backend replica{port} {{ .host = "127.0.0.1"; .port = "{port}"; }}' for port in ports]
    adds = [f"  replicas.add_backend(replica{port});" for port in ports]
    return "\n".join(
        ["import directors;", *backends, "sub vcl_init {", "  new replicas = directors.round_robin();", *adds, "}"]
        + ["sub vcl_recv {", "  set req.backend_hint = replicas.backend();", "}", ""]
    )
