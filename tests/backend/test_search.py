"""The search for keys, which ends every session, finds them."""

import base64
import hashlib

import pytest
from harness import secrets


@pytest.fixture
def planted(monkeypatch) -> str:
    """The only key of a session of its own."""
    for name, nothing in {"_names": {}, "_used": {}, "_told": [], "_given": set()}.items():
        monkeypatch.setattr(secrets, name, nothing)
    return secrets.secret("planted")


def written(key: str) -> list[bytes]:
    texts = [text.encode() for text in (key, f"Bearer {key}")]
    digests = [hashlib.sha256(text) for text in texts]
    plain = [*texts, *(digest.digest() for digest in digests)]
    packed = [base64.b64encode(bytes(before) + text + b"behind") for text in plain for before in range(3)]
    return [*plain, *packed, *(digest.hexdigest().encode() for digest in digests)]


def test_a_key_is_found_in_every_spelling(planted):
    for text in written(planted):
        assert any(spelling in text for spelling in secrets.spellings(planted)), text
    for text in written("sk-another"):
        assert not any(spelling in text for spelling in secrets.spellings(planted)), text


def test_each_spelling_is_found_in_a_file(planted, tmp_path):
    """By grep, or, where a line's end is in it, without."""
    spelled = [*secrets.spellings(planted), b"\n".join([b"", *secrets.spellings(planted)])]
    files = [tmp_path / str(number) for number in range(len(spelled))]
    for file, text in zip(files, spelled, strict=True):
        file.write_bytes(b"before" + text + b"\xff behind")
    assert secrets.findings(tmp_path) == sorted(f"planted: {file}" for file in files)


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_a_digest_with_the_end_of_a_line_is_found(planted, tmp_path, monkeypatch, end):
    monkeypatch.setattr(secrets, "spellings", lambda _: [b"be" + end + b"hind"])
    file = tmp_path / "file"
    file.write_bytes(b"a be" + end + b"hind")
    assert secrets.findings(tmp_path) == [f"planted: {file}"]


def test_it_is_found_in_files_in_their_names_and_in_what_was_told(planted, tmp_path):
    secrets.told("a page", planted.encode())
    log, named = tmp_path / "folder" / "log", tmp_path / planted
    log.parent.mkdir()
    log.write_text(f"a line\nwith {planted}\n")
    named.touch()
    secrets.given(tmp_path / "keys", planted)
    try:
        assert secrets.findings(tmp_path) == sorted(["planted: a page", f"planted: {log}", f"planted: the name {named}"])
    finally:
        for path in (log, named, tmp_path / "keys"):
            path.unlink()


@pytest.mark.parametrize("say", [secrets.used_in_headers, secrets.used_in_variables])
def test_who_uses_a_key_of_his_own_is_found(planted, say):
    name = {secrets.used_in_headers: "Authorization", secrets.used_in_variables: "ADMIN_TOKEN"}[say]
    say({name: planted, "x-other": "anything"})
    assert secrets.strangers() == []
    say({name: "sk-of-my-own"})
    (where,) = secrets.strangers()
    assert "test_who_uses_a_key_of_his_own_is_found" in where
