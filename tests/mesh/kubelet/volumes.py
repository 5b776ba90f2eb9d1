"""A Pod's volumes as directories of this machine, and where its containers mount them.

What they hold is written once, when the Pod starts: later changes of a ConfigMap or Secret do not arrive.
"""

import os
from pathlib import Path

from kubelet.api import Api
from kubelet.environment import CannotConfigure, Sources, expand

# What a projected token lives at least, as the API server asks.
TOKEN_SECONDS = 3600
FILE_MODE = 0o644


class Volumes:
    """The volumes of one Pod below `folder`."""

    def __init__(self, api: Api, pod: dict, address: str, folder: Path) -> None:
        self._api, self._pod, self._folder = api, pod, folder
        self._sources = Sources(api, pod, address)
        self._group = pod["spec"].get("securityContext", {}).get("fsGroup")
        self._paths: dict[str, Path] = {}

    def make(self) -> None:
        """Makes all volumes; CannotConfigure when what one of them needs does not exist."""
        for volume in self._pod["spec"].get("volumes", []):
            if volume["name"] not in self._paths:
                self._paths[volume["name"]] = self._make(volume)

    def mounts_of(self, container: dict, variables: dict[str, str]) -> list[tuple[str, str, str]]:
        """(source, target, ro or rw) of each mount, the outer ones first."""
        mounts = [self._mount(each, variables) for each in container.get("volumeMounts", [])]
        return sorted(mounts, key=lambda mount: mount[1].count("/"))

    def _mount(self, mount: dict, variables: dict[str, str]) -> tuple[str, str, str]:
        source = self._paths[mount["name"]]
        sub_path = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
        if sub_path:
            source = source / sub_path
            if not source.exists():
                # As the real one does: what is not there becomes a directory.
                source.mkdir(parents=True)
                self._own(source, 0o777)
        mode = "ro" if mount.get("readOnly") or self._read_only(mount["name"]) else "rw"
        return str(source), mount["mountPath"].rstrip("/"), mode

    def _read_only(self, name: str) -> bool:
        volume = next(each for each in self._pod["spec"]["volumes"] if each["name"] == name)
        return not {"emptyDir", "persistentVolumeClaim", "hostPath"} & volume.keys()

    def _make(self, volume: dict) -> Path:
        if "persistentVolumeClaim" in volume:
            return self._claimed(volume["persistentVolumeClaim"]["claimName"])
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        path = self._folder / volume["name"]
        path.mkdir(parents=True, exist_ok=True)
        self._own(path, 0o777 if "emptyDir" in volume else 0o755)
        for kind in volume.keys() - {"name", "emptyDir"}:
            source = volume[kind]
            mode = source.get("defaultMode", FILE_MODE)
            for part in source["sources"] if kind == "projected" else [{kind: source}]:
                self._fill(path, part, mode)
        return path

    def _claimed(self, claim: str) -> Path:
        """The directory behind a claim, which is bound before the scheduler places the Pod."""
        found = self._api.get(f"/api/v1/namespaces/{self._sources.namespace}/persistentvolumeclaims/{claim}")
        volume = self._api.get(f"/api/v1/persistentvolumes/{found['spec']['volumeName']}")
        path = Path(volume["spec"]["hostPath"]["path"])
        path.mkdir(parents=True, exist_ok=True)
        self._own(path, 0o755 if self._group is None else 0o775)
        return path

    def _fill(self, path: Path, part: dict, mode: int) -> None:
        ((kind, source),) = part.items()
        if kind == "serviceAccountToken":
            self._write(path / source["path"], self._token(source).encode(), mode if self._group is None else 0o600)
        elif kind == "downwardAPI":
            for item in source["items"]:
                self._write(path / item["path"], self._sources.field(item["fieldRef"]["fieldPath"]).encode(), mode)
        else:
            self._fill_from_keys(path, kind, source, mode)

    def _fill_from_keys(self, path: Path, kind: str, source: dict, mode: int) -> None:
        plural = {"configMap": "configmaps", "secret": "secrets"}[kind]
        name, optional = source.get("name") or source["secretName"], source.get("optional", False)
        content = self._sources.content(plural, name, optional)
        items = source.get("items") or [{"key": key, "path": key} for key in content]
        for item in items:
            if item["key"] in content:
                self._write(path / item["path"], content[item["key"]], item.get("mode", mode))
            elif not optional:
                raise CannotConfigure(f"{plural} {name!r} has no key {item['key']!r}")

    def _token(self, source: dict) -> str:
        metadata, account = self._pod["metadata"], self._pod["spec"].get("serviceAccountName", "default")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"boundObjectRef": bound, "expirationSeconds": source.get("expirationSeconds", TOKEN_SECONDS)}
        if "audience" in source:
            spec["audiences"] = [source["audience"]]
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        return self._api.create(path, request)["status"]["token"]

    def _write(self, path: Path, content: bytes, mode: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        # With a group for files, that group may read them whatever their mode says.
        self._own(path, mode if self._group is None else mode | 0o040)

    def _own(self, path: Path, mode: int) -> None:
        os.chown(path, 0, self._group or 0)
        setgid = 0o2000 if self._group is not None and path.is_dir() else 0
        path.chmod(mode | setgid)
