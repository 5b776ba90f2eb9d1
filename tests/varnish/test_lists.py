"""What the VCL and the other components must agree on."""

import re

from harness.paths import ROOT
from harness.variables import defaults, seconds

from .varnish import VCL

VCL_TEXT = "".join((VCL / name).read_text() for name in ("default.vcl", "purge.vcl", "refresh.vcl", "request.vcl"))
BACKEND = ROOT / "backend/src"


def sub(name: str) -> str:
    """The body of a sub of the VCL."""
    return re.search(rf"^sub {name} {{\n(.*?)^}}", VCL_TEXT, re.MULTILINE | re.DOTALL)[1]


def request_headers(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"req\.http\.([A-Za-z-]+)", text)}


def test_the_key_holds_the_credential_headers_of_the_backend():
    source = (BACKEND / "http/credentials.rs").read_text()
    listed = re.search(r"CREDENTIAL_HEADERS: \[HeaderName; \d+\] = \[(.*?)\];", source, re.DOTALL)[1]
    names = {name.lower() for pair in re.findall(r'"([a-z-]+)"|\b([A-Z_]+),', listed) for name in pair if name}
    assert len(names) >= 5
    assert request_headers(sub("join_credentials")) == names
    assert request_headers(sub("vcl_hash")) == names | {"x-body-hash"}


def test_a_tag_may_hold_what_the_backend_puts_into_one():
    source = (BACKEND / "http/tags.rs").read_text()
    punctuation = re.search(r'PUNCTUATION: &str = "([^"]+)"', source)[1]
    # Of the names behind a colon; one without a kind may hold no colon.
    classes = set(re.findall(r":\[A-Za-z0-9([^\]]*)\]", VCL_TEXT))
    assert {"".join(sorted(one)) for one in classes} == {"".join(sorted(punctuation))}


def test_a_name_without_a_kind_may_hold_the_same_but_a_colon():
    with_kind, plain = re.search(r":\[A-Za-z0-9([^\]]*)\]\+\+\|\[A-Za-z0-9([^\]]*)\]\+\+", sub("purge_tags")).groups()
    assert plain == with_kind.replace(":", "")


def test_a_tag_may_be_as_long_as_the_backend_takes_it():
    source = (BACKEND / "http/tags.rs").read_text()
    longest = re.search(r"MAX_TAG_BYTES: usize = (\d+);", source)[1]
    assert f"(?=[^ ,]{{1,{longest}}}(?:[ ,]|$))" in sub("purge_tags")


def test_a_url_may_be_purged_if_the_broadcaster_passes_it_on():
    source = (BACKEND / "broadcaster/purge_request.rs").read_text()
    told = re.search(r"rule as in `purge\.vcl`: `(.*)`\.", source)[1]
    assert f'req.url !~ "{told}"' in sub("purge_url")


def test_a_hit_repeats_no_id_of_the_first_call():
    source = (BACKEND / "http/headers.rs").read_text()
    listed = re.search(r"FROM_UPSTREAM: \[HeaderName; \d+\] = \[(.*?)\];", source, re.DOTALL)[1]
    ids = set(re.findall(r'"([a-z-]+-id)"', listed))
    assert ids
    assert ids <= set(re.findall(r"unset resp\.http\.([a-z-]+);", sub("forget_first_call")))


def test_varnish_waits_for_longer_than_the_backend_does():
    """What the backend gives up is then its own 504, and not Varnish's 503."""
    waits = re.findall(r"set bereq\.(\w+)_timeout = (\w+);", sub("address_backend"))
    assert [name for name, _ in waits] == ["first_byte", "between_bytes"]
    upstream = [defaults("embedding-gateway")[name] for name in ("UPSTREAM_TIMEOUT", "UPSTREAM_IDLE_TIMEOUT")]
    assert min(seconds(each) for _, each in waits) > max(seconds(each) for each in upstream)


def test_an_answer_is_kept_for_as_long_as_the_backend_allows():
    assert f"set beresp.ttl = {defaults('embedding-gateway')['RESPONSE_MAX_AGE']};" in sub("store")


def test_the_backend_never_closes_a_connection_as_a_call_begins():
    """Varnish takes one that was idle for that long, and then waits for the client's body."""
    parameters = dict(re.findall(r"^-p (\w+)=(\w+)$", (VCL / "start.sh").read_text(), re.MULTILINE))
    longest = int(parameters["backend_idle_timeout"]) + int(parameters["timeout_idle"])
    assert longest + 5 < seconds(defaults("embedding-gateway")["HEADER_TIMEOUT"])


def test_varnish_takes_the_headers_that_the_backend_takes():
    """Its own parameters are in the manner of `96k`."""
    parameters = dict(re.findall(r"^-p (\w+)=(\w+)$", (VCL / "start.sh").read_text(), re.MULTILINE))
    assert parameters["http_req_size"] == defaults("embedding-gateway")["MAX_HEADER_BYTES"].removesuffix("iB").lower()


def test_every_body_that_the_filter_hashes_by_default_is_cached():
    source = "".join(path.read_text() for path in (ROOT / "filter/core/src").rglob("*.rs"))
    default = re.search(r"DEFAULT_MAX_BODY_BYTES: \w+ = ([0-9_* ]+);", source)[1]
    limit = eval(default.replace("_", ""), {"__builtins__": {}})  # noqa: S307 # digits and stars only
    assert f"std.integer(req.http.Content-Length, {limit + 1}) > {limit}" in sub("buffer_body")
    assert "std.cache_req_body(1MB)" in sub("buffer_body")
    assert limit == 1024 * 1024


def test_the_header_that_carries_the_clients_cache_control_is_the_one_the_backend_reads():
    source = (BACKEND / "http/headers.rs").read_text()
    name = re.search(r'X_CLIENT_CACHE_CONTROL: HeaderName = HeaderName::from_static\("([a-z-]+)"\)', source)[1]
    assert name in request_headers(sub("carry_cache_control"))
