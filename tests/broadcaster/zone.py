"""A small DNS server: one name, and whatever addresses a test gives it, by UDP and TCP."""

import ipaddress
import socketserver
import struct
import threading

from harness.ports import free_port

NAME = "varnish-headless.test."
A, AAAA = 1, 28
NXDOMAIN = 3
# A resolver that remembers an answer for as long as it may is found out.
TTL_SECONDS = 86400
DATAGRAM_BYTES = 512


class Zone:
    """Answers for the name from when it is made until `stop`."""

    def __init__(self, *addresses: str, name: str = NAME, port: int = 0) -> None:
        self.addresses = addresses
        self.name = name
        self.asked: list[str] = []
        zone = self

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, socket = self.request
                answer = zone.answer(question)
                if len(answer) > DATAGRAM_BYTES:
                    answer = zone.answer(question, truncated=True)
                socket.sendto(answer, self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while length := self.rfile.read(2):
                    answer = zone.answer(self.rfile.read(*struct.unpack("!H", length)))
                    self.wfile.write(struct.pack("!H", len(answer)) + answer)

        self.port = port or free_port()
        tcp = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Stream)
        tcp.daemon_threads = True
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", self.port), Datagram)
        self._servers = [tcp, udp]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def answer(self, question: bytes, truncated: bool = False) -> bytes:
        """The message in answer to a message with one question."""
        end = question.index(b"\0", 12) + 1
        (kind,) = struct.unpack_from("!H", question, end)
        name = self._name(question[12:end])
        self.asked.append(name)
        known = name == self.name
        records = [] if truncated or not known else [self._record(kind, text) for text in self.addresses]
        records = [record for record in records if record]
        flags = 0x8180 | (0x0200 if truncated else 0) | (0 if known else NXDOMAIN)
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        return head + question[12 : end + 4] + b"".join(records)

    @staticmethod
    def _name(labels: bytes) -> str:
        """One label after the other, each with its length in front, the last one empty."""
        name = ""
        while labels[0]:
            length, labels = labels[0], labels[1:]
            name += labels[:length].decode() + "."
            labels = labels[length:]
        return name

    @staticmethod
    def _record(kind: int, text: str) -> bytes:
        """The address as a record of that type, its name a pointer to the question's; nothing if it is of the other type."""
        address = ipaddress.ip_address(text)
        if kind != {4: A, 6: AAAA}[address.version]:
            return b""
        data = address.packed
        return struct.pack("!HHHIH", 0xC00C, kind, 1, TTL_SECONDS, len(data)) + data

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
