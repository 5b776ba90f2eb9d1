"""The environment variables of our programs, as their documents list them; the programs' own tests hold these tables equal to the code."""

import re

from .paths import ROOT

# The tables of each container that runs one of them.
_DOCUMENTS = {"embedding-gateway": "docs/configuration.md", "endpoint-broadcaster": "backend/endpoint-broadcaster.md"}
_UNITS = {"s": 1, "m": 60, "h": 3600}


def defaults(container: str) -> dict[str, str]:
    """Every variable that the program of this container reads, with its default; none for another's program."""
    if container not in _DOCUMENTS:
        return {}
    text = (ROOT / _DOCUMENTS[container]).read_text()
    rows = re.search(r"<!-- variables: .*?-->\n(.*?)<!-- /variables -->", text, re.DOTALL)[1]
    found = dict(re.findall(r"^\| `([A-Z0-9_*]+)` \| (?:`([^`]*)`)?", rows, re.MULTILINE))
    assert "LISTEN" in found
    return found


def seconds(duration: str) -> int:
    """Of a duration as our manifests, the VCL and these tables write it."""
    number, unit = re.fullmatch(r"(\d+)([smh])", duration).groups()
    return int(number) * _UNITS[unit]
