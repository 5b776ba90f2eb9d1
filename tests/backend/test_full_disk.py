"""A store in a folder on a file system that is full: a real one, of a few pages."""

import subprocess

import pytest
from harness import programs
from harness.waiting import eventually

SMALL, ROOMY = "256k", "16m"
# Each object takes a page of its own: most of these do not fit.
TEXTS = [f"on a small disk {number}" for number in range(200)]
TOOL_SECONDS = 60


class Disk:
    """A file system in memory."""

    def __init__(self, folder) -> None:
        folder.mkdir()
        self.folder = folder

    def mount(self, *options: str) -> bool:
        return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", self.folder]).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "disk")
    if not disk.mount(f"size={SMALL}"):
        pytest.skip("SKIP: this machine lets the tests mount no file system")
    yield disk
    disk.unmount()


def vectors(answer) -> list:
    assert answer.status == 200, answer.body
    return [item["embedding"] for item in answer.json["data"]]


def test_a_full_disk_costs_writes_alone_and_is_used_again(disk, start, accept, standin):
    variables = {"STORE": f"file://{disk.folder}", "STORE_TIMEOUT": "20s"}
    full = start(**variables)
    paid = vectors(full.embed(TEXTS))
    eventually(lambda: '"the store keeps failing and is left alone","what":"writes"' in full.log.read_text(), what="a full disk")
    kept = full.stored("ok")
    assert 0 < kept < len(TEXTS)
    assert "No space left on device" in full.log.read_text()

    # What is there is read, and is whole; the rest is paid for again, at the same upstream.
    reader = start(**variables)
    accept(reader)
    assert vectors(reader.embed(TEXTS)) == paid
    assert reader.stored("unusable", "get") == 0
    # The first gateway tries a write now and then, and a page may have become free.
    assert kept <= reader.stored("ok", "get") <= full.stored("ok")
    assert {standin.times_asked(text) for text in TEXTS} == {1, 2}
    environment = variables | {"OPENAI_BASE_URL": f"{standin.url}/v1"}
    verified = subprocess.run([programs.GATEWAY, "verify"], env=environment, capture_output=True, text=True, timeout=TOOL_SECONDS)
    assert verified.returncode == 0, verified.stderr

    # What waited is written as soon as there is room.
    assert disk.mount("remount", f"size={ROOMY}")
    for gateway in (full, reader):
        eventually(lambda: gateway.stored("ok") > kept, what="the writes that waited")
