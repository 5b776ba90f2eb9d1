"""The ways to attach the filter, as lists of Envoy HTTP filters."""

from pathlib import Path

from harness import paths
from harness.envoy_config import native_config, wasm_config

PAIR, SINGLE, NATIVE = "pair", "single", "native"
# The module of each is wasm, or native code.
WASM_ATTACHMENTS = (PAIR, SINGLE)
ATTACHMENTS = (*WASM_ATTACHMENTS, NATIVE)
HEADER = "x-body-hash"
# maxBodyBytes and stallTimeout where the configuration does not say.
DEFAULT_CAP = 1 << 20
DEFAULT_STALL_SECONDS = 1.0
# What a busy machine adds to a time limit. That the default is a second is also a test of the core.
GRACE_SECONDS = 5.0
# A client that a busy machine stops in mid-body has not stalled, and what waits for this limit fails by its client's own.
PATIENT_MILLISECONDS = 120_000
VM_ID = "body-hash"


def member(role: str, module: Path, *, name: str = "", vm_id: str = VM_ID, **configuration) -> dict:
    """One filter of the module in this role; what is not given is left to its defaults.

    Native code has no role, and is the release build unless `module` is another build of it.
    """
    name = name or role
    if role == NATIVE:
        library = module if module.suffix == ".so" else paths.NATIVE_MODULE
        return {"name": name, "typed_config": native_config(configuration, library.stem.removeprefix("lib"))}
    holds = {"allow_on_headers_stop_iteration": True} if role == SINGLE else {}
    typed = wasm_config(name, module, {"role": role, **configuration}, vm_id=vm_id, root_id=name, **holds)
    return {"name": name, "typed_config": typed}


def chain(attachment: str, module: Path, *, between=(), **configuration) -> list[dict]:
    """The filters of one attachment, patient unless told otherwise, with others between the twins if there are twins."""
    return by_default(attachment, module, between=between, **{"stallTimeout": PATIENT_MILLISECONDS} | configuration)


def by_default(attachment: str, module: Path, *, between=(), **configuration) -> list[dict]:
    """The same, whose time limit is the default, too."""
    roles = ("tap", "gate") if attachment == PAIR else (attachment,)
    first, *second = (member(role, module, **configuration) for role in roles)
    return [first, *between, *second]

