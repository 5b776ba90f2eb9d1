"""Requests and answers that are small on the wire, or cheap to send, and that a careless program takes much memory for."""

import gzip

MIB = 1 << 20
# Just below what the gateway takes of an embeddings request.
BODY_BYTES = 15_000_000


def _body(piece: str, opening: str = "[", closing: str = "]") -> bytes:
    pieces = piece * (BODY_BYTES // len(piece))
    return f'{{"model":"m","input":{opening}{pieces.rstrip(",")}{closing}}}'.encode()


# Embeddings requests, by what they are full of. None is one that an upstream would serve.
BODIES = {
    "strings": _body('"",'),
    "token lists": _body("[1],"),
    "tokens": _body("1,"),
    "objects": _body("{},"),
    "members": _body('"a":1,', "{", "}"),
    "lists in lists": _body("[[[[[[]]]]]],"),
    "nested": _body("[", "", ""),
    "one string": _body("x", '"', '"'),
}
# 404 is the upstream's, for a body that only it can judge.
REFUSALS = {400, 404, 413, 503}


def gzip_bomb(mebibytes: int) -> bytes:
    """So many MiB of blanks, a thousandth of that as they are sent."""
    return gzip.compress(b" " * (mebibytes * MIB), compresslevel=9)
