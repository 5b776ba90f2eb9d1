"""Every environment variable that a document names is one that a program reads."""

import re

import pytest
from documents import every, prose
from harness.paths import ROOT
from harness.variables import defaults

# Words in capitals of others: of Envoy and Istio, of the environment at large, and of builds.
_FOREIGN = {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD", "GIT_COMMIT", "HTTP_PROXY", "WASM_INSECURE_REGISTRIES"}


def scripts() -> set[str]:
    """What the headers of the scripts describe, start.sh's included."""
    texts = [path.read_text() for folder in ("scripts", "kustomize") for path in (ROOT / folder).rglob("*.sh")]
    return {name for text in texts for name in re.findall(r"^#   ([A-Z][A-Z_]+)  ", text, re.MULTILINE)}


def known() -> set[str]:
    names = {*defaults("embedding-gateway"), *defaults("endpoint-broadcaster"), *scripts()}
    assert {"AWS_*", "UPSTREAM_MAX_INPUTS", "BACKEND_ADMIN_TOKEN", "BENCH_ROUNDS", "BODY_MEMORY"} <= names
    return names


@pytest.mark.parametrize("document", every(), ids=lambda document: str(document.relative_to(ROOT)))
def test_a_variable_that_is_named_is_read(document):
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", prose(document)))
    aws = {name for name in named if name.startswith("AWS_")}
    assert named - aws - _FOREIGN - known() == set()
