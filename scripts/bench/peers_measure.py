"""Measures other gateways and caches for embeddings beside this one, on one core each; prints Markdown."""

import json
import tempfile
import time
from pathlib import Path

import figures
import paced
import peers_table
from contender import Contender, Sample, measure
from harness.client import send
from harness.standin import Standin
from measuring import OTHER_CORES, SECONDS, on_cores, rounds
from peers_gateways import HEADERS, Peers
from wrk import Numbers

CONNECTIONS = (1, 16)
TEXT = "A customer asks how to return a parcel that arrived too late; this is passage number @ of the manual."
BASE64, FLOAT, MISS = "hit, base64", "hit, float", "miss, base64"
# Portkey's package from npm has no cache: all that it gets goes upstream.
WITHOUT_CACHE = {"Portkey"}
RATE = 3000
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say one sentence."}]}


def request(encoding: str) -> bytes:
    return json.dumps({"model": "text-embedding-3-small", "input": TEXT, "encoding_format": encoding}).encode()


class Asking:
    """What is asked: the same input again and again, or always another."""

    def __init__(self, folder: Path, peers: Peers) -> None:
        self._standin = peers.standin.url
        self._bodies = {BASE64: request("base64"), FLOAT: request("float"), MISS: request("base64")}
        self._files = {}
        for number, (what, body) in enumerate(self._bodies.items()):
            self._files[what] = folder / f"body-{number}"
            self._files[what].write_bytes(body)
            # What the check asks for; the load never does, as its numbers are others.
            self._bodies[what] = body.replace(b"@", b"0") if what == MISS else body
            peers.learn(self._bodies[what])

    def measure(self, contender: Contender, what: str, connections: int) -> Sample:
        contender.check(contender, self._bodies[what])
        self._calls(forget=True)
        numbers = Numbers(time.time_ns() // 1000) if what == MISS else None
        sample = measure(contender, self._bodies[what], self._files[what], connections, numbers)
        calls = self._calls()
        # A request that the end of the load cut off is not counted there, but here.
        expected = sample.per_second * SECONDS * 0.9 if what == MISS else 0
        if (what == MISS and calls < expected) or (what != MISS and calls):
            raise RuntimeError(f"{contender.name}: {calls} calls to the upstream are wrong for {what}")
        return sample

    def _calls(self, forget: bool = False) -> int:
        if forget:
            send(self._standin, "DELETE", "/stats")
        return send(self._standin, "GET", "/stats").json["embeddings"]["calls"]


def paced_rows(contenders: list[Contender], standin: Standin, folder: Path) -> dict[tuple, list[paced.Paced]]:
    """What passes through uncached, at a steady rate: by the gateway, and past it."""
    body, log = folder / "chat", folder / "paced.log"
    body.write_text(json.dumps(CHAT))
    ports = {"embedding-gateway": contenders[0].port, "no gateway": int(standin.url.rpartition(":")[2])}

    def ask(name: str) -> paced.Paced:
        return paced.post(ports[name], "/v1/chat/completions", body, HEADERS, RATE, 16, SECONDS, OTHER_CORES, log)

    return rounds([(name,) for name in ports], ask)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with on_cores(OTHER_CORES):
            standin = Standin(folder / "standin")
        peers = Peers(folder, standin)
        asking = Asking(folder, peers)
        contenders = peers.start()
        named = {contender.name: contender for contender in contenders}
        cases = [
            (name, what, connections)
            for what in (BASE64, FLOAT, MISS)
            for connections in CONNECTIONS
            for name in named
            if what == MISS or name not in WITHOUT_CACHE
        ]
        results = rounds(cases, lambda name, what, connections: asking.measure(named[name], what, connections))
        steady = paced_rows(contenders, standin, folder)
        for process in [*contenders, standin.process]:
            process.stop()
    figures.write_rounds("peers", ("gateway", "request", "connections"), results)
    print(peers_table.text(results, steady, RATE))


if __name__ == "__main__":
    main()
