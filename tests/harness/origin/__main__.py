"""Runs the origin: `python -m harness.origin FILE` listens on a free port of loopback and writes its number to FILE."""

import asyncio
import os
import sys

from . import server_http1, server_http2

# The first line of the HTTP/2 connection preface (RFC 9113, 3.4); no HTTP/1.1 request begins so.
_HTTP2_FIRST_LINE = b"PRI * HTTP/2.0\r\n"
_READ_LIMIT = 1 << 20
_BACKLOG = 1024


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        first = await reader.readline()
        protocol = server_http2 if first == _HTTP2_FIRST_LINE else server_http1
        await protocol.serve(first, reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # The other side hung up, as some tests ask for.
    finally:
        writer.close()


async def main(port_file: str) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=_READ_LIMIT, backlog=_BACKLOG)
    unfinished = port_file + ".new"
    with open(unfinished, "w") as file:
        file.write(str(server.sockets[0].getsockname()[1]))
    os.replace(unfinished, port_file)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
