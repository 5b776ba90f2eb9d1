"""Bad configurations: Envoy refuses to start with them, and one log line names the field."""

import re

import pytest
from harness.envoy import Refused

from .attachments import ATTACHMENTS, NATIVE, chain, member
from .gateway import Gateway

ROLES = ("tap", "gate", "single", NATIVE)
# Role aside, the configuration as it stands in the file, and the name that the log must tell.
WRONG_FIELDS = {
    "an_unknown_field": ({"maxBodyByte": 1}, "maxBodyByte"),
    "a_field_in_another_case": ({"MaxBodyBytes": 1}, "MaxBodyBytes"),
    "a_field_in_snake_case": ({"max_body_bytes": 1}, "max_body_bytes"),
    "a_cap_of_0": ({"maxBodyBytes": 0}, "maxBodyBytes"),
    "a_negative_cap": ({"maxBodyBytes": -1}, "maxBodyBytes"),
    "a_cap_with_a_fraction": ({"maxBodyBytes": 1.5}, "maxBodyBytes"),
    "a_cap_as_text": ({"maxBodyBytes": "1048576"}, "maxBodyBytes"),
    "a_cap_with_a_unit": ({"maxBodyBytes": "1Mi"}, "maxBodyBytes"),
    "a_cap_of_nothing": ({"maxBodyBytes": None}, "maxBodyBytes"),
    "a_cap_over_64_bits": ({"maxBodyBytes": 1 << 65}, "maxBodyBytes"),
    "a_time_limit_of_0": ({"stallTimeout": 0}, "stallTimeout"),
    "a_negative_time_limit": ({"stallTimeout": -5}, "stallTimeout"),
    "a_time_limit_as_text": ({"stallTimeout": "1s"}, "stallTimeout"),
    "a_time_limit_of_years": ({"stallTimeout": 10**12}, "stallTimeout"),
    "an_empty_header_name": ({"header": ""}, "header"),
    "a_header_name_with_a_space": ({"header": "x body"}, "header"),
    "a_header_name_with_a_colon": ({"header": "x:body"}, "header"),
    "a_header_name_with_a_line_break": ({"header": "x-a\r\nx-b"}, "header"),
    "a_header_name_outside_ascii": ({"header": "x-größe"}, "header"),
    "a_pseudo_header": ({"header": ":path"}, "header"),
    "a_header_that_frames_the_message": ({"header": "Content-Length"}, "header"),
    "the_host_header": ({"header": "host"}, "header"),
    "the_credential": ({"header": "authorization"}, "header"),
    "a_header_as_a_list": ({"header": ["x-body-hash"]}, "header"),
    "hosts_as_text": ({"hosts": "api.local"}, "hosts"),
    "hosts_that_are_no_text": ({"hosts": [1]}, "hosts"),
    "an_empty_host": ({"hosts": [""]}, "hosts"),
    "a_host_with_a_scheme": ({"hosts": ["http://api.local"]}, "hosts"),
    "prefixes_as_text": ({"pathPrefixes": "/v1"}, "pathPrefixes"),
    "a_prefix_without_a_slash": ({"pathPrefixes": ["v1"]}, "pathPrefixes"),
    "an_empty_prefix": ({"pathPrefixes": [""]}, "pathPrefixes"),
    "a_prefix_with_a_query": ({"pathPrefixes": ["/v1?x=1"]}, "pathPrefixes"),
}
WRONG_TEXTS = {
    "nothing": ("", "role"),
    "a_role_that_is_missing": ("{}", "role"),
    "an_unknown_role": ('{"role":"both"}', "role"),
    "a_role_in_capitals": ('{"role":"TAP"}', "role"),
    "a_role_of_nothing": ('{"role":null}', "role"),
    "a_list_of_roles": ('{"role":["tap"]}', "role"),
    "a_role_twice": ('{"role":"tap","role":"gate"}', "role"),
    "a_role_twice_in_two_spellings": ('{"role":"tap","r\\u006fle":"gate"}', "role"),
    "a_cap_twice": ('{"role":"tap","maxBodyBytes":1,"maxBodyBytes":2}', "maxBodyBytes"),
    "no_json": ("role: tap", "JSON"),
    "half_an_object": ('{"role":"tap"', "JSON"),
    "two_objects": ('{"role":"tap"}{}', "JSON"),
    "a_comment": ('{"role":"tap"} // both', "JSON"),
    "a_trailing_comma": ('{"role":"tap",}', "JSON"),
    "no_number": ('{"role":"tap","maxBodyBytes":NaN}', "JSON"),
    "a_number_with_a_leading_zero": ('{"role":"tap","maxBodyBytes":010}', "JSON"),
    "half_a_character": ('{"role":"tap","header":"\\ud800"}', "JSON"),
    "a_byte_order_mark": ('\ufeff{"role":"tap"}', "JSON"),
    "a_list": ('[{"role":"tap"}]', "JSON"),
    "text": ('"tap"', "JSON"),
    "a_deep_object": ("[" * 100_000, "JSON"),
}


def assert_refused(filters, origin, folder, name: str, **options) -> None:
    """Envoy does not start; exactly one line of the filter tells why and names the field."""
    with pytest.raises(Refused) as refused:
        Gateway(filters, origin, folder, **options).stop()
    lines = [line for line in str(refused.value).splitlines() if "body-hash:" in line or "body_hash:" in line]
    assert len(lines) == 1, refused.value
    assert re.search(rf"\b{name}\b", lines[0]), lines[0]
    assert "panic" not in str(refused.value).lower()


@pytest.mark.parametrize("wrong", WRONG_FIELDS)
def test_a_wrong_field_is_refused_by_name(module, origin, tmp_path, wrong):
    fields, name = WRONG_FIELDS[wrong]
    # Every role, and native code, reads the same configuration; each has its turn.
    role = ROLES[list(WRONG_FIELDS).index(wrong) % len(ROLES)]
    assert_refused([member(role, module, **fields)], origin, tmp_path, name)


@pytest.mark.parametrize("wrong", WRONG_TEXTS)
def test_a_wrong_configuration_is_refused_by_name(module, origin, tmp_path, wrong):
    text, name = WRONG_TEXTS[wrong]
    assert_refused([with_text(module, text)], origin, tmp_path, name)


def test_every_wrong_field_is_named_at_once(module, origin, tmp_path):
    wrong = {"maxBodyBytes": 0, "stallTimeout": -1, "header": "", "hosts": 1, "pathPrefixes": ["x"], "unknown": True}
    for place, name in enumerate(wrong):
        assert_refused([member("single", module, **wrong)], origin, tmp_path / str(place), name)


def test_a_wrong_twin_is_refused_beside_a_right_one(module, origin, tmp_path):
    assert_refused([member("tap", module), member("gate", module, maxBodyBytes=0)], origin, tmp_path, "maxBodyBytes")


@pytest.mark.parametrize("attachment", ATTACHMENTS)
def test_a_configuration_with_every_field_is_taken(module, origin, tmp_path, attachment):
    every = {"header": "X-Digest", "maxBodyBytes": 1, "stallTimeout": 1, "hosts": ["api.local"], "pathPrefixes": ["/"]}
    Gateway(chain(attachment, module, **every), origin, tmp_path).stop()


def with_text(module, text: str) -> dict:
    """A filter whose configuration is this text."""
    filter_ = member("single", module)
    filter_["typed_config"]["config"]["configuration"]["value"] = text
    return filter_
