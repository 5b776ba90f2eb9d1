"""One run of a container: a process in namespaces of its own, as the user and with the root that its Pod asks for."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.processes import children_of
from kubelet.environment import CannotConfigure, expand
from kubelet.images import SYSTEM, Image
from kubelet.sandbox import Sandbox

_ENTER = Path(__file__).parent / "enter.sh"
# What starts a container finds its own programs here; the container has its own PATH.
_HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What container runtimes leave to a root user whose Pod drops nothing.
DEFAULT_CAPABILITIES = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap"
).split()


@dataclass(frozen=True)
class Identity:
    """The user that a container runs as, and what it may do."""

    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    may_gain_privileges: bool
    read_only_root: bool

    @classmethod
    def of(cls, pod: dict, container: dict, image: Image) -> "Identity":
        """From the security contexts; CannotConfigure for a root user who must not be."""
        shared, own = pod["spec"].get("securityContext", {}), container.get("securityContext", {})
        both = shared | own
        user = both.get("runAsUser", image.user)
        if both.get("runAsNonRoot") and user == 0:
            raise CannotConfigure("container has runAsNonRoot and image will run as root")
        groups = (*shared.get("supplementalGroups", []), *([shared["fsGroup"]] if "fsGroup" in shared else []))
        return cls(
            user,
            both.get("runAsGroup", 0),
            groups,
            _capabilities(own.get("capabilities", {})),
            own.get("allowPrivilegeEscalation", True),
            own.get("readOnlyRootFilesystem", False),
        )

    def setpriv(self) -> list[str]:
        bounds = ",".join(["-all", *(f"+{name}" for name in self.capabilities)])
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        arguments = [f"--reuid={self.user}", f"--regid={self.group}", groups, "--inh-caps=-all", f"--bounding-set={bounds}"]
        return arguments if self.may_gain_privileges else [*arguments, "--no-new-privs"]


def _capabilities(wanted: dict) -> tuple[str, ...]:
    dropped = {name.upper() for name in wanted.get("drop", [])}
    kept = [] if "ALL" in dropped else [name for name in DEFAULT_CAPABILITIES if name.upper() not in dropped]
    return tuple(dict.fromkeys([*kept, *(name.lower() for name in wanted.get("add", []))]))


class ContainerProcess:
    """A started container. It ends when its first process ends, and everything in it with that."""

    def __init__(
        self,
        sandbox: Sandbox,
        image: Image,
        container: dict,
        identity: Identity,
        variables: dict[str, str],
        mounts: list[tuple[str, str, str]],
        folder: Path,
        log: Path,
    ) -> None:
        self._variables, self._identity = variables, identity
        all_mounts = [*_files_of(image, sandbox), *mounts]
        (folder / "scratch").mkdir(parents=True, exist_ok=True)
        (folder / "empty").mkdir(exist_ok=True)
        (folder / "mounts").write_text("".join("\t".join(mount) + "\n" for mount in all_mounts))
        arguments = [
            str(folder / "scratch"),
            str(SYSTEM if image.system else folder / "empty"),
            "ro" if identity.read_only_root else "rw",
            str(folder / "mounts"),
            container.get("workingDir", "/"),
        ]
        command = [*sandbox.enter(), "unshare", "--mount", "--pid", "--fork", "--kill-child", str(_ENTER), *arguments]
        environment = variables | {"PATH": _HOST_PATH, "CONTAINER_PATH": variables["PATH"]}
        with open(log, "ab") as output:
            # A container's user may open /dev/stdout anew.
            log.chmod(0o666)
            self._child = subprocess.Popen(
                [*command, *identity.setpriv(), "--", *command_line(image, container, variables)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def wait(self) -> int:
        """The exit code, when it has ended; 128 and the signal's number if a signal ended it."""
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def run(self, command: list[str], timeout: float | None = None) -> subprocess.CompletedProcess:
        """Runs a command inside, as the container's user; TimeoutExpired when it takes too long."""
        first = self._first_process()
        if first is None:
            return subprocess.CompletedProcess(command, 1, b"", b"the container is not running")
        user = [f"--setuid={self._identity.user}", f"--setgid={self._identity.group}"]
        enter = ["/usr/bin/nsenter", f"--target={first}", "--mount", "--net", "--uts", "--ipc", "--pid", "--wd", *user, "--"]
        return subprocess.run(
            [*enter, *command], capture_output=True, stdin=subprocess.DEVNULL, env=self._variables, timeout=timeout
        )

    def _signal(self, number: int) -> None:
        first = self._first_process()
        if first is not None:
            try:
                os.kill(first, number)
            except ProcessLookupError:
                pass

    def _first_process(self) -> int | None:
        """The process that is number 1 inside, as it is called out here."""
        try:
            children = children_of(self._child.pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return children[0] if children else None


def command_line(image: Image, container: dict, variables: dict[str, str]) -> list[str]:
    """The Pod's command, else the image's, and the Pod's arguments."""
    command = container.get("command") or list(image.entrypoint)
    return [expand(word, variables) for word in [*command, *container.get("args", [])]]


def _files_of(image: Image, sandbox: Sandbox) -> list[tuple[str, str, str]]:
    own = [(str(source.resolve()), target, "ro") for target, source in image.files.items()]
    return [*((source, target, "rw") for source, target in sandbox.files()), *own]
