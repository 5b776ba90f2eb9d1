"""The origin's HTTP/1.1 side."""

import asyncio

from ..http1_wire import END, LAST_CHUNK, chunk, head, parse_fields
from ..received import values
from .answers import Answer, Arriving, answer

_READ_BYTES = 65536
_SURPLUS = Answer(500, [("content-type", "text/plain")], b"bytes behind the end of the request")


async def serve(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers requests until the client closes; `first` is the first request line."""
    while first:
        request = await _read_head(first, reader)
        if request.seen.method == "CONNECT" or values(request.seen.headers, "upgrade"):
            return await _tunnel(request, reader, writer)
        first = await (await _answer(request, reader, writer))


async def _answer(request: Arriving, reader, writer) -> asyncio.Future[bytes]:
    """Answers a request; what follows it."""
    if request.echoes:
        await _echo(request, reader, writer)
        return asyncio.ensure_future(reader.readline())
    if request.answers_early:
        _write(writer, request, answer(request))
    async for data in _body(request, reader):
        request.add(data)
    if request.aborts:
        raise ConnectionAbortedError
    following = asyncio.ensure_future(reader.readline())
    # It ends at once if there are bytes already. A proxy sends its next request after the answer to this one, so what is
    # here belongs to none, and the client of the next request would get the answer to it.
    await asyncio.sleep(0)
    if not request.answers_early:
        _write(writer, request, _SURPLUS if following.done() and following.result() else answer(request))
    await writer.drain()
    return following


async def _read_head(first: bytes, reader) -> Arriving:
    method, path, protocol = first.decode("latin-1").split()
    headers = parse_fields(await _read_lines(reader))
    authority = (values(headers, "host") or [""])[0]
    return Arriving(protocol, method, path, authority, headers)


async def _read_lines(reader) -> list[bytes]:
    lines = []
    while (line := await reader.readline()) not in (END, b""):
        lines.append(line)
    return lines


async def _body(request: Arriving, reader):
    trailers = []
    if values(request.seen.headers, "transfer-encoding"):
        while size := await _chunk_size(reader):
            yield await reader.readexactly(size)
            await reader.readline()
        trailers = parse_fields(await _read_lines(reader))
    else:
        left = int((values(request.seen.headers, "content-length") or ["0"])[0])
        while left:
            data = await reader.read(min(left, _READ_BYTES))
            if not data:
                raise ConnectionResetError
            left -= len(data)
            yield data
    request.finish(trailers)


async def _chunk_size(reader) -> int:
    line = await reader.readline()
    if not line:
        raise ConnectionResetError
    return int(line.split(b";")[0], 16)


def _write(writer, request: Arriving, what: Answer) -> None:
    length = ("content-length", str(len(what.body)))
    writer.write(head(f"HTTP/1.1 {what.status} Answer", [*what.headers, length]))
    if request.seen.method != "HEAD":
        writer.write(what.body)


async def _echo(request: Arriving, reader, writer) -> None:
    writer.write(head("HTTP/1.1 200 Echo", [("transfer-encoding", "chunked")]))
    async for data in _body(request, reader):
        request.add(data)
        writer.write(chunk(data))
    writer.write(LAST_CHUNK + END)
    await writer.drain()


async def _tunnel(request: Arriving, reader, writer) -> None:
    if request.seen.method == "CONNECT":
        writer.write(head("HTTP/1.1 200 Connected"))
    else:
        protocol = values(request.seen.headers, "upgrade")[0]
        writer.write(head("HTTP/1.1 101 Switching", [("connection", "upgrade"), ("upgrade", protocol)]))
    writer.write(request.to_json() + b"\n")
    while data := await reader.read(_READ_BYTES):
        writer.write(data)
        await writer.drain()
