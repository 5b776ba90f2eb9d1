"""Keys appear nowhere: each is made here, and what the programs of a session leave behind is searched for all of them.

A key is made by `secret`. What knows a key without it, as a test that brings one of its own, is found out by those who see
keys pass: they say so to `used`. What is no file says what it is to `told`, and a file that gives a key to a program is
`given`: it alone may hold one.
"""

import base64
import hashlib
import itertools
import os
import subprocess
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
    suspects, unasked = _suspects([spelling for _, spelling in sought], folders)
    places = [(what, text, sought) for what, text in _told]
    for path in itertools.chain.from_iterable(_files(folder) for folder in folders):
        places.append((f"the name {path}", str(path).encode(), sought))
    found = {f"{name}: {what}" for what, text, those in places for name, spelling in those if spelling in text}
    for path in itertools.chain.from_iterable(_files(folder) for folder in folders):
        if path.is_file() and path not in _given:
            text = _text(path)
            those = sought if suspects is None or path in suspects or path.is_symlink() else [each for each in sought if each[1] in unasked]
            found |= {f"{name}: {path}" for name, spelling in those if spelling in text}
    return sorted(found)


def _text(path: Path) -> bytes:
    """Nothing of a file that a program removes as it ends."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _suspects(sought: list[bytes], folders: tuple[Path, ...]) -> tuple[set[Path] | None, set[bytes]]:
    """Files in which grep, which looks for all at once, finds any; None if it could not read all. And what it cannot be asked for."""
    unasked = {each for each in sought if b"\n" in each or b"\0" in each}
    lines = b"\n".join(each for each in sought if each not in unasked)
    if not (lines and folders):
        return None, unasked
    command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--null", "--file=-", *folders]
    done = subprocess.run(command, input=lines, capture_output=True, env=os.environ | {"LC_ALL": "C"})
    return {Path(os.fsdecode(each)) for each in done.stdout.split(b"\0") if each} if done.returncode < 2 else None, unasked


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


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_SHARED_MEMORY)]
        yield from (Path(parent, name) for name in names)
