"""The ways to attach the filter, as lists of Envoy HTTP filters."""

from pathlib import Path

from harness.envoy_config import wasm_config
from harness.paths import ENVOY_VERSION

PAIR, SINGLE = "pair", "single"
ATTACHMENTS = (PAIR, SINGLE)
HEADER = "x-body-hash"
# maxBodyBytes and stallTimeout where the configuration does not say.
DEFAULT_CAP = 1 << 20
DEFAULT_STALL_SECONDS = 1.0
VM_ID = "body-hash"
# Envoy's default for per_connection_buffer_limit_bytes.
CONNECTION_BUFFER = 1 << 20


def member(role: str, module: Path, *, name: str = "", vm_id: str = VM_ID, **configuration) -> dict:
    """One filter of the module in this role; what is not given is left to its defaults."""
    name = name or role
    holds = {"allow_on_headers_stop_iteration": True} if role == SINGLE else {}
    typed = wasm_config(name, module, {"role": role, **configuration}, vm_id=vm_id, root_id=name, **holds)
    return {"name": name, "typed_config": typed}


def chain(attachment: str, module: Path, *, between=(), **configuration) -> list[dict]:
    """The filters of one attachment, with others between the twins if there are twins."""
    roles = ("tap", "gate") if attachment == PAIR else (SINGLE,)
    first, *second = (member(role, module, **configuration) for role in roles)
    return [first, *between, *second]


def room(attachment: str, version: str = ENVOY_VERSION, cap: int = DEFAULT_CAP, connection_buffer: int = CONNECTION_BUFFER) -> dict:
    """Options of a gateway in which Envoy itself never answers 413 to a body over the cap.

    Envoy buffers the single filter's body, and looks at its own limit before it shows the filter the bytes that go over
    the cap; so there must be room for them above the cap. The pair needs nothing.
    """
    if attachment == PAIR:
        return {}
    if version.startswith("1.36."):
        # Here request_body_buffer_limit can lower the connection's limit and not raise it.
        return {"listener_options": {"per_connection_buffer_limit_bytes": 8 * cap}}
    return {"manager_options": {"virtual_host": {"request_body_buffer_limit": cap + 2 * connection_buffer}}}
