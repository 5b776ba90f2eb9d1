"""Writes the schemas of this folder, without their prose.

usage: vendor.py crds OUT CRD.yaml...     the schemas of the kinds that the manifests may use, in v1 where there is one
       vendor.py json OUT SCHEMA.json     a JSON schema

Sources: README.md.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

# What the manifests may use; a kind that is not here has no schema, and the test of it fails.
KINDS = {
    "AuthorizationPolicy", "ClientTrafficPolicy", "EnvoyExtensionPolicy", "EnvoyProxy", "DestinationRule", "EnvoyFilter", "ExternalSecret", "Gateway", "GatewayClass", "HTTPRoute",
    "PeerAuthentication", "PodMonitor", "PrometheusRule", "ServiceEntry", "ServiceMonitor", "Sidecar", "Telemetry", "TrafficExtension", "VirtualService",
    "WasmPlugin",
}  # fmt: skip
PROSE = {"description", "x-intellij-html-description", "markdownDescription", "examples"}


def terse(schema: Any, names: bool = False) -> Any:
    """Without prose. `names`: the keys are names of fields, and one may be called `description`."""
    if isinstance(schema, list):
        return [terse(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: terse(value, key in ("properties", "definitions")) for key, value in schema.items() if names or key not in PROSE}


def crds(paths: list[str]) -> dict[str, Any]:
    schemas = {}
    for path in paths:
        for crd in yaml.safe_load_all(Path(path).read_text()):
            if not crd or crd["spec"]["names"]["kind"] not in KINDS:
                continue
            versions = crd["spec"]["versions"]
            stable = [version for version in versions if version["name"] == "v1"]
            for version in stable or versions:
                name = f"{crd['spec']['group']}/{version['name']}/{crd['spec']['names']['kind']}"
                schemas[name] = terse(version["schema"]["openAPIV3Schema"])
    return dict(sorted(schemas.items()))


def main(form: str, out: str, *sources: str) -> None:
    content = crds(list(sources)) if form == "crds" else terse(json.loads(Path(sources[0]).read_text()))
    Path(out).write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
