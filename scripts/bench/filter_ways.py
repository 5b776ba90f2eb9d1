"""The ways to give a request its `x-body-hash`, each with an Envoy of its own in front of one origin.

The origin is an Envoy whose buffer filter reads the whole body before a direct response answers, so every byte is
forwarded. It answers 200 only where the hash has its form, and says in a header which one came.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contender import Contender
from filter.attachments import ATTACHMENTS, HEADER, chain
from harness.client import Answer, send
from harness.envoy import Envoy
from harness.envoy_config import LOOPBACK, bootstrap, cluster, http_connection_manager, http_filter, listener, route
from harness.ports import free_port
from harness.processes import Process
from harness.programs import START_SECONDS
from harness.waiting import eventually
from measuring import BUILDS, MEASURED_CORES, OTHER_CORES, on_cores

MIB = 1 << 20
NONE, REPLACED = "none", "ext_proc chain"
# Under load the chain that the filter replaces answers a request in some hundreds with a 5xx.
REPLACED_MAY_FAIL = 0.02
HASHER = BUILDS.parent / "release/ext-proc-hasher"
# Says which hash came; without one it is not there.
SEEN = "x-seen-hash"
PLAIN = "/plain"
# So often a refusal is asked again after a load, a second apart.
REFUSALS = 5
# For all ways alike: room for a body that is held whole.
BUFFER_BYTES = 4 * MIB
READ_ALL = http_filter("buffer.v3.Buffer", max_request_bytes=BUFFER_BYTES)
_TYPES = "type.googleapis.com/"


def built(name: str) -> Path:
    """The filter with the compiler flags that scripts/bench.sh calls so."""
    return BUILDS / name / "wasm32-wasip1/release/body_hash_filter.wasm"


def envoy(listeners: list, clusters: list, folder: Path, cores: set[int]) -> Envoy:
    """An Envoy with one worker, pinned."""
    with on_cores(cores):
        return Envoy(bootstrap(listeners, clusters), folder)


def origin(folder: Path) -> Envoy:
    hashed = {"name": HEADER, "string_match": {"safe_regex": {"regex": "[0-9a-f]+"}}}
    routes = [
        {"match": {"path": PLAIN}, "direct_response": {"status": 200}},
        {"match": {"prefix": "/", "headers": [hashed]}, "direct_response": {"status": 200}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 400}},
    ]
    says = {"response_headers_to_add": [{"header": {"key": SEEN, "value": f"%REQ({HEADER})%"}}]}
    answering = listener("origin", http_connection_manager([READ_ALL], routes, virtual_host=says))
    return envoy([answering | {"per_connection_buffer_limit_bytes": BUFFER_BYTES}], [], folder, OTHER_CORES)


def replaced() -> list[dict]:
    """Lua for the host, and the external processor that gets each body whole."""
    script = 'function envoy_on_request(handle) handle:headers():replace(":authority", "cache.internal") end'
    lua = http_filter("lua.v3.Lua", default_source_code={"inline_string": script})
    processor = http_filter(
        "ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": "hasher"}, "timeout": "30s"},
        message_timeout="30s",
        # It changes no headers that it has not sent.
        processing_mode={"request_header_mode": "SEND", "response_header_mode": "SKIP", "request_body_mode": "BUFFERED"},
    )
    return [lua, processor]


def ways() -> dict[str, list[dict]]:
    """By name, the filters of each way."""
    attached = {name: chain(name, built("simd")) for name in ATTACHMENTS}
    return {NONE: [], **attached, REPLACED: replaced()}


def _answer(contender: Contender, body: bytes, headers: dict[str, str]) -> Answer:
    """The first that is no refusal: a way may still be at work on requests that the load has left behind."""
    for _ in range(REFUSALS):
        answer = send(contender.url, "POST", contender.path, body, headers)
        if answer.status < 500:
            return answer
        time.sleep(1)
    return answer


def check(contender: Contender, body: bytes) -> Answer:
    """The origin got the right hash, or none where there is none to be had."""
    wanted = None if contender.name == NONE else hashlib.sha256(body).hexdigest()
    answer = _answer(contender, body, {HEADER: "0" * 64} if wanted else {})
    found = answer.headers.get(SEEN)
    if answer.status != 200 or found != wanted:
        raise RuntimeError(f"{contender.name}: {answer.status}, hash {found} and not {wanted}")
    return answer


@contextmanager
def contenders(folder: Path) -> Iterator[dict[str, Contender]]:
    """All ways, running; gone afterwards."""
    with ExitStack() as stack:
        behind = stack.enter_context(origin(folder / "origin")).port("origin")
        found = {}
        for number, (name, filters) in enumerate(ways().items()):
            others, target = _replaced_parts(folder, behind) if name == REPLACED else ([], behind)
            clusters = [cluster("origin", target)] + ([_hasher_cluster(others[0])] if others else [])
            forwarding = listener(name, http_connection_manager(filters, [route("origin")]))
            forwarding |= {"per_connection_buffer_limit_bytes": BUFFER_BYTES}
            gateway = envoy([forwarding], clusters, folder / f"way-{number}", MEASURED_CORES)
            path = PLAIN if name == NONE else "/"
            found[name] = Contender(name, [gateway.process, *others], gateway.port(name), check, path)
            if name == REPLACED:
                found[name].may_fail = REPLACED_MAY_FAIL
            stack.callback(found[name].stop)
        yield found


def _replaced_parts(folder: Path, behind: int) -> tuple[list[Process], int]:
    """The hasher and socat, on the core of their Envoy; the port of socat."""
    port = free_port()
    with on_cores(MEASURED_CORES):
        hasher = Process([HASHER, f"{LOOPBACK}:0"], folder / "hasher.log")
        # With room for several of its usual blocks at once.
        hop = Process(
            ["socat", "-b", str(64 << 10), f"TCP-LISTEN:{port},bind={LOOPBACK},fork,reuseaddr,nodelay", f"TCP:{LOOPBACK}:{behind},nodelay"],
            folder / "socat.log",
        )
    return [hasher, hop], port


def _hasher_cluster(hasher: Process) -> dict:
    found = eventually(lambda: re.search(r"http://[\d.]+:(\d+)", hasher.log_text()), START_SECONDS, "the hasher's address")
    options = _TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": options, "explicit_http_config": {"http2_protocol_options": {}}}
    extension = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2}
    return cluster("hasher", int(found[1]), typed_extension_protocol_options=extension)
