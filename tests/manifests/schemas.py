"""Whether an object is one that its API would take: every field known, every type right."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

from .objects import Manifests, Object, title

# What the mesh kit runs.
KUBERNETES = "1.36"
_FOLDER = Path(__file__).parent / "schemas"
# What every object has beside what its definition lists.
_EVERY = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def strict(schema: Any) -> Any:
    """As the API server reads a definition when it is asked to be strict: a field that it does not list is an error."""
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    if result.pop("x-kubernetes-int-or-string", False):
        result["type"] = ["integer", "string"]
    if "pattern" in schema:
        # Go takes flags behind the anchor, Python only at the very beginning.
        result["pattern"] = re.sub(r"^\^\(\?i\)", "(?i)^", schema["pattern"])
    if "items" in schema:
        result["items"] = strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(schema["additionalProperties"])
    if "properties" in schema:
        result["properties"] = {field: strict(each) for field, each in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    return result


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in ("envoy-gateway.json", "external-secrets.json", "gateway-api.json", "istio.json", "monitoring.json"):
        for name, schema in json.loads((_FOLDER / file).read_text()).items():
            found[name] = strict(schema | {"properties": _EVERY | schema["properties"]})
    return found


@cache
def _problem(text: str) -> str | None:
    """Of one object, as JSON: most are the same in every variant."""
    each = json.loads(text)
    definition = _definitions().get(f"{each['apiVersion']}/{each['kind']}")
    try:
        if definition is None:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        else:
            jsonschema.validate(each, definition)
    except kubernetes_validate.SchemaNotFoundError:
        return "there is no schema of it"
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as wrong:
        return f"{'.'.join(str(step) for step in wrong.path)}: {wrong.message[:300]}"
    return None


def unknown_to_their_apis(manifests: Manifests) -> list[str]:
    problems = ((each, _problem(json.dumps(each))) for each in manifests.objects)
    return [f"{title(each)}: {problem}" for each, problem in problems if problem]


def skaffold_problems(config: Object) -> list[str]:
    schema = json.loads((_FOLDER / "skaffold-v4beta11.json").read_text())
    return [f"{'.'.join(map(str, wrong.path))}: {wrong.message[:300]}" for wrong in jsonschema.Draft7Validator(schema).iter_errors(config)]
