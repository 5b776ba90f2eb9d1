"""`envoy/gateway.yaml` as it stands, on free ports and with anything in Varnish's place."""

import json
from collections.abc import Callable
from pathlib import Path

import yaml
from harness.envoy import Envoy
from harness.paths import ROOT
from harness.ports import moved, replacements
from harness.received import Response

_FILE = ROOT / "envoy/gateway.yaml"
# The ports that the file names: Envoy's admin page, the gateway, Varnish.
_ADMIN, _GATEWAY, _VARNISH = 9901, 8080, 6081


def configuration() -> dict:
    """The file, as Envoy reads it."""
    return yaml.safe_load(_FILE.read_text())


def manager(whole: dict) -> dict:
    """The HTTP connection manager of the gateway's listener."""
    (listener,) = whole["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


class Front:
    """A running gateway in front of `varnish_port`; `change` may edit its configuration first."""

    def __init__(self, folder: Path, varnish_port: int, change: Callable[[dict], None] = lambda whole: None) -> None:
        ports = replacements(_ADMIN, _GATEWAY) | {_VARNISH: varnish_port}
        whole = yaml.safe_load(moved(_FILE.read_text(), ports))
        change(whole)
        self.port = ports[_GATEWAY]
        self.envoy = Envoy(whole, folder)

    def __enter__(self) -> "Front":
        return self

    def __exit__(self, *_) -> None:
        self.envoy.stop()

    def access_log(self) -> list[dict]:
        """What the gateway has logged. Envoy writes it when it ends, so this ends it."""
        self.envoy.stop()
        return [json.loads(line) for line in self.envoy.process.log_text().splitlines() if line.startswith("{")]


def error(response: Response) -> dict:
    """The error of an answer that is in OpenAI's envelope; AssertionError if it is not."""
    assert response.values("content-type") == ["application/json"], response
    (name,) = body = json.loads(response.body)
    assert name == "error" and body["error"].keys() == {"message", "type", "param", "code"}, body
    kind = "server_error" if response.status >= 500 else "invalid_request_error"
    assert body["error"]["type"] == kind and body["error"]["message"], body
    return body["error"]
