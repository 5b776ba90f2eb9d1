"""Objects of the store, read after `docs/cache-format.md` alone."""

import hashlib
import struct
from dataclasses import dataclass

HEAD = struct.Struct("<4s32sQIIH")
SCALE = struct.Struct("<Bd")
CHECKSUM_BYTES = 32


@dataclass(frozen=True)
class Entry:
    """What an object says."""

    format: int
    key: str
    created_ms: int
    tokens: int
    model: str
    vector: tuple[float, ...]

    def floats(self) -> bytes:
        return floats(self.vector)


def floats(numbers) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def rounded(number: float) -> float:
    """To the nearest float32. The quotient of a float16 and a float32 that a float64 holds rounds as the exact one would."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


def decode(data: bytes) -> Entry:
    """Reads an object; raises ValueError if it is not whole."""
    described, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    magic, key, created, tokens, dimensions, length = HEAD.unpack_from(described)
    model = described[HEAD.size : HEAD.size + length].decode()
    rest = described[HEAD.size + length :]
    match magic:
        case b"EGV1":
            vector, decoded = struct.unpack(f"<{dimensions}f", rest), b""
        case b"EGV2":
            manner, factor = SCALE.unpack_from(rest)
            halves = struct.unpack(f"<{dimensions}e", rest[SCALE.size :])
            vector = tuple(rounded(half / factor if manner == 1 else half * factor) for half in halves)
            if manner not in (1, 2, 3) or (manner < 3 and rounded(factor) != factor):
                raise ValueError(f"no manner of scaling: {manner} {factor}")
            decoded = floats(vector)
        case _:
            raise ValueError(f"no object: {magic}")
    if hashlib.sha256(described + decoded).digest() != checksum:
        raise ValueError("the checksum is another")
    return Entry(int(magic[3:]), key.hex(), created, tokens, model, vector)
