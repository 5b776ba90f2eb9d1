"""Numbers and names that the documents tell are those of the code."""

import re

import pytest
from harness.paths import ROOT

_NUMBERS = {"eight": 8, "five": 5}
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "bytes": 1, "ms": 1, "s": 1000, "seconds": 1000, "minutes": 60_000}
_README, _TROUBLESHOOTING = "backend/README.md", "docs/troubleshooting.md"
_HTTP_API, _CACHE_FORMAT, _TELEMETRY = "docs/http-api.md", "docs/cache-format.md", "docs/telemetry.md"
_VARIABLES = "backend/src/config/variables.rs"

# A document, what it says, and the constant that decides. Times are in milliseconds.
TOLD = [
    (_HTTP_API, r"unknown fields of more than (\w+ \w+) or nested", "backend/src/embeddings/request.rs", "MAX_EXTRA_BYTES"),
    (_HTTP_API, r"or nested more than (\w+) deep", "backend/src/embeddings/json.rs", "MAX_DEPTH"),
    (_HTTP_API, r"a model's name of more than (\w+ \w+)", "backend/src/embeddings/request.rs", "MAX_MODEL_BYTES"),
    (_CACHE_FORMAT, r"lists the markers every (\w+ \w+)", "backend/src/cache/purges/watch.rs", "INTERVAL"),
    (_CACHE_FORMAT, r"once that one is (\w+ \w+) old", "backend/src/cache/purges/fold.rs", "SETTLED"),
    (_HTTP_API, r"of at most (\w+ \w+), and counts once", "backend/src/http/tags.rs", "MAX_TAG_BYTES"),
    (_HTTP_API, r"different tags of more than (\w+ \w+) together", "backend/src/http/tags.rs", "MAX_TAG_LIST_BYTES"),
    (_TELEMETRY, r"the first (\w+) have series of their own", "backend/src/telemetry/models.rs", "MAX_MODELS"),
    (_TELEMETRY, r"without its query, at most (\w+ \w+) of it", "backend/src/telemetry/semantics.rs", "MAX_PATH_BYTES"),
    (_TELEMETRY, r"Lines wait in memory, up to (\w+ \w+),", "backend/src/telemetry/log_writer.rs", "MAX_WAITING"),
    (_VARIABLES, r"all of a batch together have that and (\w+ \w+) more for each input", "backend/src/cache/store/lookups.rs", "DEADLINE_PER_INPUT"),
    (_TROUBLESHOOTING, r"`STORE_TIMEOUT` and (\w+ \w+) for each input", "backend/src/cache/store/lookups.rs", "DEADLINE_PER_INPUT"),
    (_TROUBLESHOOTING, r"after (\w+) failures in a row", "backend/src/cache/breaker.rs", "FAILURES_TO_OPEN"),
    (_TROUBLESHOOTING, r"tries it every (\w+ \w+)\.", "backend/src/cache/breaker.rs", "PAUSE"),
    (_TROUBLESHOOTING, r"bodies over `maxBodyBytes` \((\w+ \w+)\)", "filter/core/src/config.rs", "DEFAULT_MAX_BODY_BYTES"),
    ("filter/README.md", r"`maxBodyBytes` \| 1 to \w+ \| (\w+) \|", "filter/core/src/config.rs", "DEFAULT_MAX_BODY_BYTES"),
    ("filter/README.md", r"`maxBodyBytes` \| 1 to (\w+) \|", "filter/core/src/config.rs", "LARGEST_BODY_BYTES"),
    ("filter/README.md", r"`stallTimeout` \| 1 to (\w+) \(ms\) \|", "filter/core/src/config.rs", "LONGEST_STALL_TIMEOUT_MS"),
    ("filter/README.md", r"`stallTimeout` \| 1 to \w+ \(ms\) \| (\w+) \|", "filter/core/src/config.rs", "DEFAULT_STALL_TIMEOUT"),
]


def told(document: str, sentence: str) -> int:
    (words,) = re.findall(sentence.replace(" ", r"\s+"), (ROOT / document).read_text())
    number, _, unit = " ".join(words.split()).partition(" ")
    return int(_NUMBERS.get(number, number)) * _UNITS[unit]


def decided(file: str, constant: str) -> int:
    (value,) = re.findall(rf"\bconst {constant}: \w+ = (.+);$", (ROOT / file).read_text(), re.MULTILINE)
    value = re.sub(r"Duration::from_secs\((\w+)\)", r"(\1 * 1000)", value)
    value = re.sub(r"Duration::from_millis\((\w+)\)", r"\1", value).replace("u32::MAX as u64", "2**32 - 1").replace("_", "")
    assert re.fullmatch(r"[\d *()<-]+", value), value
    return eval(value, {"__builtins__": {}})  # noqa: S307 # numbers and operators only


@pytest.mark.parametrize(("document", "sentence", "file", "constant"), TOLD)
def test_a_document_tells_the_number_that_decides(document, sentence, file, constant):
    assert told(document, sentence) == decided(file, constant)


def test_the_documents_name_the_headers_of_a_credential():
    source = (ROOT / "backend/src/http/credentials.rs").read_text()
    listed = re.search(r"CREDENTIAL_HEADERS: \[HeaderName; \d+\] = \[(.*?)\];", source, re.DOTALL)[1]
    names = [(written or constant).lower() for written, constant in re.findall(r'from_static\("([a-z-]+)"\)|\b([A-Z]+),', listed)]
    for document in (_README, "kustomize/components/varnish/README.md"):
        text = " ".join((ROOT / document).read_text().split()).lower()
        sentence = ", ".join(f"`{name}`" for name in names)
        assert sentence in text.replace("` and `", "`, `"), document


def test_the_document_names_how_a_purge_may_end():
    labels = (ROOT / "backend/src/broadcaster/report.rs").read_text().partition("label! {")[2].partition("\n}\n")[0]
    outcomes = re.findall(r'^        \w+ = "(\w+)",$', labels, re.MULTILINE)
    assert len(outcomes) > 5
    document = (ROOT / "backend/endpoint-broadcaster.md").read_text()
    assert f"PURGE requests: {', '.join(f'`{outcome}`' for outcome in outcomes)} |" in document
