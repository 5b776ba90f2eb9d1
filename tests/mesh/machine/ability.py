"""Prints what this machine cannot do of what a node needs, or nothing: writes one rule of each kind, runs one container."""

import json
import subprocess
import tempfile
from pathlib import Path

NAME = "embedding-gateway-probe"
_SECONDS = 60
# Of this machine: what one of its programs needs.
_FOLDERS = ("/usr", "/lib", "/lib64")
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_RULES = (
    ("iptables", "--wait", "-t", "nat", "-A", "OUTPUT", "-j", "ACCEPT"),
    ("ipset", "create", NAME, "hash:ip"),
    ("ip", "link", "add", "name", "probe", "type", "bridge"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rootfs").mkdir()
        (Path(folder) / "config.json").write_text(json.dumps(bundle()))
        for command in (*_RULES, ("runc", "--root", f"{folder}/state", "run", "--bundle", folder, NAME)):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
            if done.returncode:
                print(f"this machine cannot run `{command[0]}` as a node does: {done.stderr.strip()}")
                return


def bundle() -> dict:
    """A container of `true` with 64 MiB: https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md."""
    mounts = [{"destination": each, "source": each, "type": "bind", "options": ["rbind", "ro"]} for each in _FOLDERS if Path(each).exists()]
    mounts.append({"destination": "/proc", "source": "proc", "type": "proc"})
    return {
        "ociVersion": "1.0.0",
        "process": {"args": ["/usr/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True},
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "linux": {
            "cgroupsPath": f"/{NAME}",
            "namespaces": [{"type": each} for each in _NAMESPACES],
            "resources": {"memory": {"limit": 64 << 20}},
        },
    }


if __name__ == "__main__":
    main()
