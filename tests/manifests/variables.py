"""The environment variables of our programs, as their documents list them; the programs' own tests hold these tables equal to the code."""

import re

from harness.paths import ROOT

# The table of each container that runs one of them.
_DOCUMENTS = {"embedding-gateway": "README.md", "endpoint-broadcaster": "endpoint-broadcaster.md"}


def defaults(container: str) -> dict[str, str]:
    """Every variable that the program of this container reads, with its default; none for another's program."""
    if container not in _DOCUMENTS:
        return {}
    text = (ROOT / "backend" / _DOCUMENTS[container]).read_text()
    rows = re.search(r"<!-- variables: .*?-->\n(.*?)<!-- /variables -->", text, re.DOTALL)[1]
    found = dict(re.findall(r"^\| `([A-Z0-9_*]+)` \| (?:`([^`]*)`)?", rows, re.MULTILINE))
    assert "LISTEN" in found
    return found


def seconds(duration: str) -> int:
    """Of a duration in whole seconds, as our manifests and the tables write them."""
    return int(re.fullmatch(r"(\d+)s", duration)[1])
