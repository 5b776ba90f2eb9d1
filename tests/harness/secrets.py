"""Keys appear nowhere: each is made here, and what the programs of a session leave behind is searched for all of them.

A key is made by `secret`. What knows a key without it, as a test that brings one of its own, is found out by those who see
keys pass: they say so to `used`. What is no file says what it is to `told`, and a file that gives a key to a program is
`given`: it alone may hold one.
"""

import base64
import hashlib
import itertools
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# What makes up a credential, but for what only names an owner.
_HEADERS = {"authorization", "api-key", "x-api-key"}
_VARIABLES = {"OPENAI_API_KEY", "ADMIN_TOKEN", "BACKEND_ADMIN_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
_SCHEME = "Bearer "
# The requests that Varnish has in its shared memory are there for programs that ask this varnishd for them, and not written down.
_SHARED_MEMORY = "_.vsm"

# With these a program tells all that it ever would; a session adds its collector of traces.
talkative = {"RUST_LOG": "trace"}

_names: dict[str, str] = {}
_used: dict[str, str] = {}
_told: list[tuple[str, bytes]] = []
_given: set[Path] = set()


def secret(name: str, length: int = 0) -> str:
    """A key that no request has used before, and that is called `name` where it must not be told; if need be, a long one."""
    value = f"sk-{name}-{uuid.uuid4().hex}".ljust(length, "a")
    _names[value] = name
    return value


def given(path: Path, text: str) -> Path:
    """Writes a file of which a program learns a key."""
    path.write_text(text)
    _given.add(path)
    return path


def told(what: str, text: bytes) -> None:
    """Something that a program said."""
    _told.append((what, text))


def used(digest: str) -> None:
    """A client presented the key with this SHA-256."""
    _used.setdefault(digest, os.environ.get("PYTEST_CURRENT_TEST", "no test"))


def used_in_headers(headers: Mapping[str, str]) -> None:
    _used_values(value.removeprefix(_SCHEME) for name, value in headers.items() if name.lower() in _HEADERS)


def used_in_variables(variables: Mapping[str, str]) -> None:
    # What stands in the environment of the run is not of the tests.
    _used_values(value for name, value in variables.items() if name in _VARIABLES and value != os.environ.get(name))


def _used_values(values: Iterable[str]) -> None:
    for value in filter(None, values):
        used(hashlib.sha256(value.encode()).hexdigest())


def strangers() -> list[str]:
    """Where a key was used that `secret` did not make, and that no search looks for."""
    known = {hashlib.sha256(value.encode()).hexdigest() for value in _names}
    return sorted({where for digest, where in _used.items() if digest not in known})


def findings(*folders: Path) -> list[str]:
    """Which key is written down where: in files below the folders, in their names, in what was told."""
    sought = [(name, spelling) for value, name in _names.items() for spelling in spellings(value)]
    places = itertools.chain(_told, *(_files(folder) for folder in folders))
    return sorted({f"{name}: {what}" for what, text in places for name, spelling in sought if spelling in text})


def spellings(value: str) -> list[bytes]:
    """A key as a program might write it down."""
    written = [value.encode(), *_in_base64(value.encode())]
    for text in (value, _SCHEME + value):
        digest = hashlib.sha256(text.encode())
        written += [digest.digest(), digest.hexdigest().encode(), *_in_base64(digest.digest())]
    return written


def _in_base64(text: bytes) -> Iterator[bytes]:
    """What is always the same of it, whatever stands before and behind it: six bits a character."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + text)
        yield encoded[-(-before * 8 // 6) : (before + len(text)) * 8 // 6]


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_SHARED_MEMORY)]
        for path in (Path(parent, name) for name in names):
            yield f"the name {path}", str(path).encode()
            if path.is_file() and path not in _given:
                yield str(path), path.read_bytes()
