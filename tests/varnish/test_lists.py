"""What the VCL and the other components must agree on."""

import re

from harness.paths import ROOT

from .varnish import VCL

VCL_TEXT = "".join((VCL / name).read_text() for name in ("default.vcl", "purge.vcl"))
BACKEND = ROOT / "backend/src"


def sub(name: str) -> str:
    """The body of a sub of the VCL."""
    return re.search(rf"^sub {name} {{\n(.*?)^}}", VCL_TEXT, re.MULTILINE | re.DOTALL)[1]


def request_headers(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"req\.http\.([A-Za-z-]+)", text)}


def test_the_key_holds_the_credential_headers_of_the_backend():
    source = (BACKEND / "credentials.rs").read_text()
    listed = re.search(r"CREDENTIAL_HEADERS: \[HeaderName; \d+\] = \[(.*?)\];", source, re.DOTALL)[1]
    names = {name.lower() for pair in re.findall(r'"([a-z-]+)"|\b([A-Z_]+),', listed) for name in pair if name}
    assert len(names) >= 5
    assert request_headers(sub("join_credentials")) == names
    assert request_headers(sub("vcl_hash")) == names | {"x-body-hash"}


def test_a_tag_may_hold_what_the_backend_puts_into_one():
    source = (BACKEND / "tags.rs").read_text()
    punctuation = re.search(r'PUNCTUATION: &str = "([^"]+)"', source)[1]
    # Of the names; a kind, which stands before the colon, holds letters and digits only.
    classes = set(re.findall(r":\[A-Za-z0-9([^\]]*)\]", VCL_TEXT))
    assert {"".join(sorted(one)) for one in classes} == {"".join(sorted(punctuation))}


def test_every_body_that_the_filter_hashes_by_default_is_cached():
    source = "".join(path.read_text() for path in (ROOT / "filter/src").rglob("*.rs"))
    default = re.search(r"DEFAULT_MAX_BODY_BYTES: \w+ = ([0-9_* ]+);", source)[1]
    limit = eval(default.replace("_", ""), {"__builtins__": {}})  # noqa: S307 # digits and stars only
    assert f"std.integer(req.http.Content-Length, {limit + 1}) > {limit}" in sub("buffer_body")
    assert "std.cache_req_body(1MB)" in sub("buffer_body")
    assert limit == 1024 * 1024


def test_the_header_that_carries_the_clients_cache_control_is_the_one_the_backend_reads():
    source = (BACKEND / "headers.rs").read_text()
    name = re.search(r'X_CLIENT_CACHE_CONTROL: HeaderName = HeaderName::from_static\("([a-z-]+)"\)', source)[1]
    assert name in request_headers(sub("carry_cache_control"))

