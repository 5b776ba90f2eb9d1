"""The offline stand-in for OpenAI, as an upstream of its own."""

import hashlib
from pathlib import Path

from . import programs
from .client import send
from .processes import Process
from .waiting import eventually


class Standin:
    """One stand-in, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.process = Process([programs.STANDIN], folder / "standin.log")
        self.url = eventually(self._url, programs.START_SECONDS, "the stand-in's address")

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

    def set_vectors(self, **variant) -> None:
        """Other vectors from now on; the usual ones without a variant."""
        assert send(self.url, "PUT", "/vectors", variant, {"content-type": "application/json"}).status < 300

    def stop(self) -> None:
        programs.note_keys(self.url)
        self.process.stop()
