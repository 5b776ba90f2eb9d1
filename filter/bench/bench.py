#!/usr/bin/env python3
"""What the filter costs: pair, single, and both without SIMD, against the same Envoy without it.

usage: filter/bench/bench.py [--requests N] [--envoy PATH]

Builds the module with and without +simd128, starts one Envoy with a listener for each way, and
sends the same bodies to all of them in turn over one connection each, so that whatever else the
machine does weighs on all alike. The upstream is the same Envoy, which reads the whole body and
answers. Prints the median and the 99th percentile for each body size, what the filter adds to the
median, and the rate at which it hashes.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIMD = ROOT / "target/wasm32-wasip1/release/body_hash_filter.wasm"
SCALAR = ROOT / "target/scalar/wasm32-wasip1/release/body_hash_filter.wasm"
SIZES = {"1 KiB": 1 << 10, "16 KiB": 16 << 10, "256 KiB": 256 << 10, "1 MiB": 1 << 20}
EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"


def build():
    cargo = ["cargo", "build", "--quiet", "--release", "--package", "body-hash-filter", "--target", "wasm32-wasip1"]
    subprocess.run(cargo, cwd=ROOT, check=True)
    scalar = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target/scalar"), "RUSTFLAGS": "-Ctarget-feature=-simd128"}
    subprocess.run(cargo, cwd=ROOT, check=True, env=scalar)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wasm(role, module):
    return {
        "name": role,
        "typed_config": {
            "@type": f"{EXTENSIONS}.http.wasm.v3.Wasm",
            "config": {
                "name": role,
                "allow_on_headers_stop_iteration": role == "single",
                "vm_config": {
                    "vm_id": module.parts[-4],
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": str(module)}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": json.dumps({"role": role}),
                },
            },
        },
    }


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name, port, filters, route):
    router = {"name": "router", "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"}}
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}} | route]}]},
        "http_filters": [*filters, router],
    }
    return {"name": name, "address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}


def bootstrap(ways, admin, ports):
    buffer = {"name": "buffer", "typed_config": {"@type": f"{EXTENSIONS}.http.buffer.v3.Buffer", "max_request_bytes": 4 << 20}}
    echo = free_port()
    listeners = [listener(name, ports[name], filters, {"route": {"cluster": "echo"}}) for name, filters in ways.items()]
    listeners.append(listener("echo", echo, [buffer], {"direct_response": {"status": 200}}))
    endpoints = {"cluster_name": "echo", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(echo)}}]}]}
    return {
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": listeners, "clusters": [{"name": "echo", "load_assignment": endpoints}]},
    }


def await_ready(admin):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("bench: Envoy did not start")


class Connection:
    """One keep-alive connection that times whole requests."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def time(self, request):
        start = time.perf_counter()
        self.socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(65536)
        elapsed = time.perf_counter() - start
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"bench: {answer!r}")
        return elapsed * 1e6


def measure(connections, size, requests):
    body = os.urandom(size)
    request = b"POST / HTTP/1.1\r\nhost: bench\r\ncontent-length: %d\r\n\r\n" % size + body
    times = {name: [] for name in connections}
    for turn in range(requests + requests // 10):
        for name, connection in connections.items():
            elapsed = connection.time(request)
            if turn >= requests // 10:  # the first tenth warms up
                times[name].append(elapsed)
    return times


def report(label, size, times):
    bare = statistics.median(times["none"])
    for name, samples in times.items():
        median, p99 = statistics.median(samples), statistics.quantiles(samples, n=100)[98]
        added = median - bare
        rate = f"{size / added:8.0f} MB/s" if size >= 256 << 10 and added > 0 else ""
        print(f"{label:>8}  {name:<14} p50 {median:8.0f} us   p99 {p99:8.0f} us   adds {added:7.0f} us   x{median / bare:5.2f} {rate}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=1000, help="for each way and size")
    options.add_argument("--envoy", default=str(ROOT / ".tools/bin/envoy"))
    options = options.parse_args()
    build()
    ways = {"none": []}
    for suffix, module in (("", SIMD), (", scalar", SCALAR)):
        ways["pair" + suffix] = [wasm("tap", module), wasm("gate", module)]
        ways["single" + suffix] = [wasm("single", module)]
    admin, ports = free_port(), {name: free_port() for name in ways}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(bootstrap(ways, admin, ports), file)
        file.flush()
        command = [options.envoy, "-c", file.name, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]
        envoy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            await_ready(admin)
            connections = {name: Connection(port) for name, port in ports.items()}
            for label, size in SIZES.items():
                report(label, size, measure(connections, size, options.requests))
        finally:
            envoy.terminate()
            envoy.wait(10)


if __name__ == "__main__":
    main()
