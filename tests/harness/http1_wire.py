"""The bytes of HTTP/1.1, both ways: what the client and the origin have in common."""

from collections.abc import Iterable, Iterator

END = b"\r\n"
LAST_CHUNK = b"0\r\n"


def latin1(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def head(start_line: str | bytes, headers: Iterable = ()) -> bytes:
    """A start line and headers, in this order and spelling."""
    lines = [latin1(start_line), *(latin1(name) + b": " + latin1(value) for name, value in headers)]
    return END.join(lines) + END + END


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def parse_fields(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """Header or trailer lines as pairs."""
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return [(name, value.strip()) for name, _, value in pairs]


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` cut into pieces of these sizes, the sizes repeated as often as needed."""
    sizes = list(sizes)
    start = turn = 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        yield data[start : start + size]
        start, turn = start + size, turn + 1
