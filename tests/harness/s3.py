"""A real S3 server."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import secrets
from .client import send
from .paths import TOOLS
from .ports import free_ports
from .processes import Process
from .programs import START_SECONDS
from .waiting import eventually

WEED = TOOLS / "venv/bin/weed"

BUCKET = "vectors"
ACCESS_KEY, SECRET_KEY = secrets.secret("s3-access"), secrets.secret("s3-secret")
# May read and write objects, and neither list nor make buckets.
NARROW_KEY, NARROW_SECRET = secrets.secret("s3-narrow-access"), secrets.secret("s3-narrow-secret")
# Of a folder's mode at SeaweedFS's filer, and more than any folder there holds.
DIRECTORY, MANY = 1 << 31, 1_000_000


class S3Server:
    """A SeaweedFS with one bucket; it may be stopped and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        self.folder = folder
        self.ports = free_ports(8)
        identity = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        actions = ["Admin", "Read", "Write", "List"]
        narrow = {"accessKey": NARROW_KEY, "secretKey": NARROW_SECRET}
        identities = [
            {"name": "gateway", "credentials": [identity], "actions": actions},
            {"name": "narrow", "credentials": [narrow], "actions": ["Read", "Write"]},
        ]
        secrets.given(folder / "s3.json", json.dumps({"identities": identities}))
        self.process = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[6]}"

    @property
    def _filer(self) -> str:
        return f"http://127.0.0.1:{self.ports[4]}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def variables(self, **more: str) -> dict[str, str]:
        """What a gateway needs to know."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        } | more

    def narrow(self, **more: str) -> dict[str, str]:
        """The same for a key that may only get and put objects."""
        return self.variables(AWS_ACCESS_KEY_ID=NARROW_KEY, AWS_SECRET_ACCESS_KEY=NARROW_SECRET) | more

    def start(self) -> None:
        names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
        names += ["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
        ports = [f"-{name}={port}" for name, port in zip(names, self.ports, strict=True)]
        fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        files = [f"-dir={self.data}", f"-s3.config={self.folder / 's3.json'}", "-master.volumeSizeLimitMB=64"]
        # Of a large disk the hundredth that it wants to be free by default is more than it will ever need here.
        files.append("-volume.minFreeSpace=64MiB")
        self.process = Process([WEED, "server", *fixed, *ports, *files], self.folder / "weed.log", cwd=self.folder)
        eventually(self._makes_bucket, START_SECONDS, "the bucket")

    def _makes_bucket(self) -> bool:
        try:
            # The filer keeps a bucket as a folder, and takes one without a signature; 409 if it is there already.
            made = send(self._filer, "POST", f"/buckets/{BUCKET}/").status in (201, 409)
            # Until the volumes are back, the filer knows of objects that nothing can read.
            made = made and send(self._filer, "PUT", "/is-there-room", b"x").status == 201
            # Who does not sign is refused; a server that is not there yet answers nothing, or 5xx.
            return made and send(self.endpoint, "GET", f"/{BUCKET}").status == 403
        except OSError:
            return False

    def set_read_only(self, only: bool) -> None:
        """Whether the server refuses to write into the bucket; it takes a moment to obey."""
        rules = {"locations": [{"locationPrefix": f"/buckets/{BUCKET}/", "readOnly": only}]}
        raw = {"content-type": "application/octet-stream"}
        assert send(self._filer, "PUT", "/etc/seaweedfs/filer.conf", json.dumps(rules), raw).status == 201

    def put_named(self, names: list[str]) -> None:
        """Objects of no use but their names, put there past S3."""
        raw = {"content-type": "application/octet-stream"}
        with ThreadPoolExecutor(16) as pool:
            made = pool.map(lambda name: send(self._filer, "PUT", f"/buckets/{BUCKET}/{name}", b"x", raw).status, names)
            assert set(made) <= {200, 201}

    def stop(self) -> None:
        # In its files they may be packed.
        secrets.told(f"the names in the bucket of {self.folder}", "\n".join(self.names()).encode())
        self.process.stop()

    def names(self, folder: str = f"/buckets/{BUCKET}") -> list[str]:
        """Of all objects, as the filer keeps them."""
        page = send(self._filer, "GET", f"{folder}/?limit={MANY}", None, {"accept": "application/json"}).json
        entries = {entry["FullPath"]: entry["Mode"] & DIRECTORY for entry in page["Entries"] or []}
        return [name for path, inside in entries.items() for name in (self.names(path) if inside else [path])]
