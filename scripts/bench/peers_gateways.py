"""The gateways and caches that are compared, each as its manual says to run it on one core, before the same stand-in."""

import os
from array import array
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contender import Contender
from harness.client import Answer, send
from harness.gateway import Gateway
from harness.paths import ROOT, TOOLS
from harness.ports import free_port
from harness.processes import Process
from harness.standin import Standin
from harness.waiting import eventually
from measuring import MEASURED_CORES, on_cores

PATH = "/v1/embeddings"
# What an OpenAI SDK sends.
HEADERS = {
    "authorization": "Bearer sk-acme-1",
    "content-type": "application/json",
    "accept": "application/json",
    "user-agent": "OpenAI/Python 3.54.0",
}
QUIET = "info,embedding_gateway::request=off"
PORTKEY = ROOT / "scripts/bench/peers/node_modules/@portkey-ai/gateway/build/start-server.js"
# LiteLLM imports for minutes on a busy machine.
START_SECONDS = 600
# Of the log of one that ends.
LOG_CHARACTERS = 2000

NGINX = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  # Or each thousandth request would open a connection.
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxied;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  # A key can hold a body only if that is in memory, in one piece.
  client_max_body_size 1m;
  client_body_buffer_size 1m;
  client_body_in_single_buffer on;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=embeddings:64m max_size=4g inactive=1h use_temp_path=off;
  open_file_cache max=100000 inactive=1h;
  upstream standin {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://standin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 128k;
      proxy_cache embeddings;
      proxy_cache_methods POST;
      proxy_cache_key "$request_uri $http_authorization $request_body";
      proxy_cache_valid 200 1h;
      proxy_cache_lock on;
      proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
    }}
  }}
}}
"""

LITELLM = """
model_list:
  - model_name: text-embedding-3-small
    litellm_params: {{model: openai/text-embedding-3-small, api_base: "{upstream}/v1", api_key: sk-acme-1}}
litellm_settings:
  cache: true
  cache_params: {{type: local}}
general_settings:
  master_key: sk-acme-1
  # It would not start with so short a key.
  dangerously_permit_weak_or_unset_master_key: true
"""


@dataclass
class Peers:
    """Starts each on the core that is measured; knows the right answers."""

    folder: Path
    standin: Standin
    _right: dict[bytes, list[array]] = field(default_factory=dict)

    def start(self) -> list[Contender]:
        """All of them; the first is this gateway."""
        with on_cores(MEASURED_CORES):
            return [self._gateway(), self._nginx(), self._litellm(), self._portkey()]

    def learn(self, body: bytes) -> None:
        """The vector that a request for it must bring, from the upstream itself."""
        self._right[body] = vectors(send(self.standin.url, "POST", PATH, body, HEADERS))

    def check(self, contender: Contender, body: bytes) -> Answer:
        answer = send(contender.url, "POST", PATH, body, contender.headers, timeout=30)
        if answer.status != 200 or vectors(answer) != self._right[body]:
            raise RuntimeError(f"{contender.name}: {answer.status}, or another vector than the upstream's: {answer.body[:300]}")
        return answer

    def _gateway(self) -> Contender:
        gateway = Gateway(self.folder / "gateway", self.standin.url, RUST_LOG=QUIET)
        return self._contender("embedding-gateway", gateway.process, int(gateway.url.rpartition(":")[2]))

    def _nginx(self) -> Contender:
        def command(folder: Path, port: int) -> list:
            (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, upstream=self.standin.url.removeprefix("http://")))
            return [TOOLS / "bin/nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]

        return self._other("nginx", command, "/v1/models")

    def _litellm(self) -> Contender:
        def command(folder: Path, port: int) -> list:
            (folder / "config.yaml").write_text(LITELLM.format(upstream=self.standin.url))
            program = [TOOLS / "litellm/bin/python", TOOLS / "litellm/bin/litellm"]
            return [*program, "--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", port, "--num_workers", 1, "--telemetry", "False"]

        # It would fetch its list of prices.
        return self._other("LiteLLM", command, "/health/liveliness", LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")

    def _portkey(self) -> Contender:
        def command(_: Path, port: int) -> list:
            return [TOOLS / "bin/node", PORTKEY, f"--port={port}", "--headless"]

        found = self._other("Portkey", command, "/", NODE_ENV="production")
        found.headers |= {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{self.standin.url}/v1"}
        return found

    def _other(self, name: str, command: Callable[[Path, int], list], ready: str, **variables: str) -> Contender:
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        process = Process(command(folder, port), folder / "log", env=os.environ | variables)

        def is_ready() -> bool:
            if process.exit_code is not None:
                raise RuntimeError(f"{name} ended:\n{process.log_text()[-LOG_CHARACTERS:]}")
            try:
                return send(f"http://127.0.0.1:{port}", "GET", ready, headers=HEADERS).status == 200
            except OSError:
                return False

        eventually(is_ready, START_SECONDS, f"{name} answers")
        return self._contender(name, process, port)

    def _contender(self, name: str, process: Process, port: int) -> Contender:
        return Contender(name, [process], port, self.check, PATH, dict(HEADERS))


def vectors(answer: Answer) -> list[array]:
    """Whatever way they were written."""
    found = (item["embedding"] for item in answer.json["data"])
    return [array("f", b64decode(one) if isinstance(one, str) else one) for one in found]
