"""The programs of these tests: gateways, the offline stand-in behind them, and a real S3 server beside them."""

import hashlib
import json
import os
from pathlib import Path

from harness import programs, secrets
from harness.client import Answer, send
from harness.paths import TOOLS
from harness.ports import free_ports
from harness.processes import Process
from harness.programs import START_SECONDS
from harness.waiting import eventually

WEED = TOOLS / "venv/bin/weed"

BUCKET = "vectors"
ACCESS_KEY, SECRET_KEY = secrets.secret("s3-access"), secrets.secret("s3-secret")
# Of nobody in particular.
ANY_KEY = secrets.secret("acme-1")
# Of a folder's mode at SeaweedFS's filer, and more than any folder there holds.
DIRECTORY, MANY = 1 << 31, 1_000_000


class Gateway:
    """One gateway. It logs all that it would ever log."""

    def __init__(self, folder: Path, upstream: str, **variables: str) -> None:
        folder.mkdir(parents=True)
        self.log = folder / "gateway.log"
        inherited = {"PATH": os.environ["PATH"]}
        own = {"LISTEN": "127.0.0.1:0", "OPENAI_BASE_URL": f"{upstream}/v1", "LOG_FORMAT": "json"}
        self.process = Process([programs.GATEWAY], self.log, env=inherited | secrets.talkative | own | variables)
        self.url = programs.url_of(self.process)

    def embed(self, inputs, key: str = ANY_KEY, model: str = "text-embedding-3-small", **headers: str) -> Answer:
        return send(
            self.url,
            "POST",
            "/v1/embeddings",
            {"model": model, "input": inputs, "dimensions": 8},
            {"authorization": f"Bearer {key}", "content-type": "application/json"} | headers,
        )

    def purge(self, token: str, **headers: str) -> Answer:
        return send(self.url, "PURGE", "/v1/embeddings", None, {"authorization": f"Bearer {token}"} | headers)

    def metrics(self) -> str:
        return send(self.url, "GET", "/metrics").body.decode()

    def metric(self, line: str) -> int:
        """The value of one line of /metrics, 0 if it is not there."""
        values = [found.removeprefix(line) for found in self.metrics().splitlines() if found.startswith(line)]
        return int(values[0]) if values else 0

    def stored(self, result: str, operation: str = "put") -> int:
        labels = f'{{operation="{operation}",result="{result}"}}'
        return self.metric(f"embedding_gateway_store_operations_total{labels}")

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; the exit code."""
        programs.keep_metrics(self.process, self.url)
        return self.process.terminate(timeout)

    def end(self) -> None:
        """Whatever became of it, it is gone afterwards."""
        programs.keep_metrics(self.process, self.url)
        self.process.stop()


class Standin:
    """The upstream."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.process = Process([programs.STANDIN], folder / "standin.log")
        self.url = eventually(self._url, START_SECONDS, "the stand-in's address")

    def _url(self) -> str | None:
        words = self.process.log_text().split()
        return next((word for word in words if word.startswith("http://")), None)

    def texts(self) -> dict[str, int]:
        """How often each text was asked for, by its SHA-256."""
        return send(self.url, "GET", "/stats").json["embeddings"]["texts"]

    def times_asked(self, text: str) -> int:
        return self.texts().get(hashlib.sha256(text.encode()).hexdigest(), 0)

    def set_keys(self, **rules) -> None:
        assert send(self.url, "PUT", "/keys", rules, {"content-type": "application/json"}).status < 300

    def stop(self) -> None:
        programs.note_keys(self.url)
        self.process.stop()


class S3Server:
    """A SeaweedFS with one bucket; it may be stopped and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        self.folder = folder
        self.ports = free_ports(8)
        identity = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        actions = ["Admin", "Read", "Write", "List"]
        identities = [{"name": "gateway", "credentials": [identity], "actions": actions}]
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
            # Who does not sign is refused; a server that is not there yet answers nothing, or 5xx.
            return made and send(self.endpoint, "GET", f"/{BUCKET}").status == 403
        except OSError:
            return False

    def stop(self) -> None:
        # In its files they may be packed.
        secrets.told(f"the names in the bucket of {self.folder}", "\n".join(self.names()).encode())
        self.process.stop()

    def names(self, folder: str = f"/buckets/{BUCKET}") -> list[str]:
        """Of all objects, as the filer keeps them."""
        page = send(self._filer, "GET", f"{folder}/?limit={MANY}", None, {"accept": "application/json"}).json
        entries = {entry["FullPath"]: entry["Mode"] & DIRECTORY for entry in page["Entries"] or []}
        return [name for path, inside in entries.items() for name in (self.names(path) if inside else [path])]
