"""What a gateway writes into a store, and reads from it, against a decoder that shares no code with it."""

import hashlib
import json
import struct
from pathlib import Path

from harness import cache_object
from harness.paths import ROOT
from harness.waiting import eventually

GOLDEN = ROOT / "backend/tests/golden/objects.jsonl"
TEXTS = [f"object {number}" for number in range(5)]


def vectors(answer) -> list[bytes]:
    assert answer.status == 200, answer.body
    return [cache_object.floats(item["embedding"]) for item in answer.json["data"]]


def stored(folder: Path) -> list[Path]:
    return [path for path in (folder / "v1").rglob("*") if path.is_file()]


def test_the_golden_objects_say_what_is_written_beside_them():
    for line in map(json.loads, GOLDEN.read_text().splitlines()):
        entry = cache_object.decode(bytes.fromhex(line["object"]))
        assert entry.floats().hex() == line["vector"]
        assert (entry.key, entry.model, entry.tokens, entry.created_ms) == (line["key"], line["model"], line["tokens"], line["created_ms"])


def test_objects_hold_every_bit_in_half_the_bytes_and_older_ones_are_still_read(start, accept, tmp_path, standin):
    folder = tmp_path / "store"
    folder.mkdir()
    store = {"STORE": f"file://{folder}"}
    writer = start(**store)
    paid = vectors(writer.embed(TEXTS))
    eventually(lambda: writer.stored("ok") >= len(TEXTS), what="the writes")

    found = {path: cache_object.decode(path.read_bytes()) for path in stored(folder)}
    assert sorted(entry.floats() for entry in found.values()) == sorted(paid)
    assert {entry.format for entry in found.values()} == {2}
    assert all(entry.key == path.name for path, entry in found.items())

    # One stays; one becomes what gateways wrote before; one says more than its float16s decode to.
    _, older, altered, *_ = found
    older.write_bytes(as_format_1(found[older]))
    data = bytearray(altered.read_bytes())
    data[-33] ^= 1
    data[-32:] = hashlib.sha256(data[:-32]).digest()
    altered.write_bytes(data)
    reader = start(**store)
    accept(reader)
    assert vectors(reader.embed(TEXTS)) == paid
    assert reader.stored("unusable", "get") == 1
    assert reader.stored("ok", "get") >= len(TEXTS) - 1


def as_format_1(entry: cache_object.Entry) -> bytes:
    model = entry.model.encode()
    head = cache_object.HEAD.pack(b"EGV1", bytes.fromhex(entry.key), entry.created_ms, entry.tokens, len(entry.vector), len(model))
    described = head + model + struct.pack(f"<{len(entry.vector)}f", *entry.vector)
    return described + hashlib.sha256(described).digest()
