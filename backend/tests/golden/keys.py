#!/usr/bin/env python3
"""Computes cache keys from their description alone, for keys.jsonl beside this file.

A release that changes a key empties all caches, so the Rust code is held to that file. Run
without arguments it prints the file anew; then bump the version in `embeddings/key.rs` as well.
"""

import hashlib
import json
import struct

VERSION = b"embedding-gateway key 1"
REALM = ("", "https://api.openai.com/v1", "shared")
REQUESTS = [
    {"model": "text-embedding-3-small", "input": "hello"},
    {"model": "text-embedding-3-small", "input": "hello", "dimensions": 256},
    {"model": "text-embedding-3-small", "input": "hellodimensions: 256"},
    {"model": "text-embedding-3-small", "input": ["a", "b"]},
    {"model": "text-embedding-3-small", "input": "ab"},
    {"model": "text-embedding-3-small", "input": "a-b"},
    {"model": "text-embedding-3-small", "input": "Apple"},
    {"model": "text-embedding-3-small", "input": "apple "},
    {"model": "text-embedding-3-small", "input": "1,2"},
    {"model": "text-embedding-3-small", "input": [1, 2]},
    {"model": "text-embedding-3-small", "input": [[1], [2, 100257]]},
    {"model": "text-embedding-3-small", "input": "\u00fc\U0001f600\n\"\\"},
    {"model": "text-embedding-3-small", "input": ""},
    {"model": "text-embedding-3-large", "input": "hello"},
    {"model": "m", "input": "q", "input_type": "query", "a": {"z": [1, 2.50, None], "b": "\u00e9"}},
    {"model": "m", "input": "q", "user": "somebody", "encoding_format": "base64"},
]
KNOWN = {"model", "input", "dimensions", "user", "encoding_format"}


def part(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def canonical(fields: dict) -> str:
    dumped = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return dumped[1:-1]


def inputs(value) -> list:
    if isinstance(value, str) or isinstance(value[0], int):
        return [value]
    return value


def key(realm: tuple, request: dict, value) -> str:
    dimensions = request.get("dimensions")
    extra = {name: field for name, field in request.items() if name not in KNOWN}
    digest = hashlib.sha256(part(VERSION))
    for text in (*realm, request["model"]):
        digest.update(part(text.encode()))
    digest.update(part(b"" if dimensions is None else struct.pack("<I", dimensions)))
    digest.update(part(canonical(extra).encode()))
    if isinstance(value, str):
        digest.update(part(b"text") + part(value.encode()))
    else:
        digest.update(part(b"tokens") + part(struct.pack(f"<{len(value)}I", *value)))
    return digest.hexdigest()


def lines():
    realms = [REALM, ("two", *REALM[1:]), (REALM[0], "http://127.0.0.1:9/", REALM[2]), (*REALM[:2], "organization:org-1")]
    for realm in realms:
        for request in REQUESTS if realm is REALM else REQUESTS[:1]:
            keys = [key(realm, request, value) for value in inputs(request["input"])]
            yield json.dumps({"realm": realm, "body": json.dumps(request), "keys": keys})


if __name__ == "__main__":
    print("\n".join(lines()))
