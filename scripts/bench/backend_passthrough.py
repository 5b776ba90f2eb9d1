"""What only passes through: 1 MiB up and 1 MiB down, against an Envoy that does the same."""

from collections.abc import Iterator

from backend_bench import HEADERS, MIB, Bench, Server, middle, ratio, row
from filter_ways import READ_ALL, envoy
from harness.envoy_config import cluster, http_connection_manager, listener, route
from harness.paths import ENVOY_VERSION
from measuring import MEASURED_CORES, OTHER_CORES, rounds

CONNECTIONS = 8
UP, DOWN = "/v1/files", "/v1/audio/speech"
SMALL_BODY = 100


def origin_listener() -> dict:
    """Reads whole bodies; answers one path with much and all others with nothing."""
    much = {"match": {"path": DOWN}, "direct_response": {"status": 200, "body": {"inline_string": "x" * MIB}}}
    nothing = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = http_connection_manager([READ_ALL], [much, nothing])
    manager["typed_config"]["route_config"]["max_direct_response_body_size_bytes"] = MIB
    return listener("origin", manager)


def rows(bench: Bench) -> Iterator[str]:
    with envoy([origin_listener()], [], bench.folder / "origin", OTHER_CORES) as origin:
        upstream = cluster("origin", origin.port("origin"))
        forwarding = listener("proxy", http_connection_manager([], [route("origin")]))
        with envoy([forwarding], [upstream], bench.folder / "proxy", MEASURED_CORES) as proxy:
            gateway, server = bench.gateway(f"http://127.0.0.1:{origin.port('origin')}")
            servers = {"gateway": server, "envoy": Server(proxy.process, proxy.port("proxy"))}
            bodies = {UP: MIB, DOWN: SMALL_BODY}
            results = rounds(
                [(name, path) for path in bodies for name in servers],
                lambda name, path: bench.measure(servers[name], bodies[path], CONNECTIONS, path, HEADERS),
            )
            gateway.process.stop()
    for path, what in ((UP, "a request of 1 MiB"), (DOWN, "an answer of 1 MiB")):
        samples, others = results["gateway", path], results["envoy", path]
        speeds = [f"{middle(each, 'per_second'):,.0f} requests/s" for each in (samples, others)]
        found = ratio(samples, others, "per_second")
        yield row(f"pass-through of {what}, {CONNECTIONS} connections", speeds[0], f"Envoy {ENVOY_VERSION}: {speeds[1]}", found, "≥ 0.80")
