#!/usr/bin/env python3
"""Writes objects of the store after their description alone, for objects.jsonl beside this file.

What stands in stores outlives a release, so the Rust code is held to that file. Run without
arguments it prints the file anew.
"""

import hashlib
import json
import random
import struct

MODEL = "text-embedding-3-small"
CREATED_MS = 1_700_000_000_123
TOKENS = 8
DIVIDE, MULTIPLY, MULTIPLY_WIDE = 1, 2, 3


def f32(number: float) -> float:
    return struct.unpack("<f", struct.pack("<f", number))[0]


def float16s(seed: int, count: int) -> list[float]:
    """The largest of them lies between 32,768 and 65,504, as the format wants it."""
    numbers = random.Random(seed)
    drawn = [numbers.gauss(0, 9000) for _ in range(count - 3)] + [40_000.0, 0.0, -0.0]
    return list(struct.unpack(f"<{count}e", struct.pack(f"<{count}e", *drawn)))


def golden(key: bytes, magic: bytes, kept: bytes, vector: list[float]) -> dict:
    """One line: what an object says, and the object."""
    model, floats = MODEL.encode(), struct.pack(f"<{len(vector)}f", *vector)
    described = magic + key + struct.pack("<QIIH", CREATED_MS, TOKENS, len(vector), len(model)) + model + kept
    checksum = hashlib.sha256(described + (floats if magic == b"EGV2" else b"")).digest()
    return {
        "key": key.hex(),
        "model": MODEL,
        "tokens": TOKENS,
        "created_ms": CREATED_MS,
        "vector": floats.hex(),
        "object": (described + checksum).hex(),
    }


def key(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()


def halves(number: int, manner: int, factor: float) -> dict:
    numbers = float16s(number, 64)
    vector = [f32(half / factor if manner == DIVIDE else half * factor) for half in numbers]
    return golden(key(number), b"EGV2", struct.pack("<Bd64e", manner, factor, *numbers), vector)


def floats(number: int, vector: list[float]) -> dict:
    return golden(key(number), b"EGV1", struct.pack(f"<{len(vector)}f", *vector), vector)


def main() -> None:
    seventh = [f32(number / 7) for number in float16s(1, 64)]
    lines = [
        # Of a gateway that did not know format 2.
        floats(1, seventh),
        floats(2, [f32(random.Random(number).random()) for number in range(64)]),
        halves(3, DIVIDE, f32(123_456.789)),
        halves(4, MULTIPLY, f32(1 / 123_456.789)),
        # Between two float32s.
        halves(5, MULTIPLY_WIDE, 1 / 123_456.793),
    ]
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
