"""Redis' protocol, as much of it as an append needs."""

from __future__ import annotations

import socket
from collections import deque


class RespConnection:
    """One connection: answers come in the order of the questions."""

    def __init__(self, address: str) -> None:
        self._tags: deque[int] = deque()
        self._unread = b""

    def greeting(self) -> bytes:
        return b""

    def request(self, tag: int, text: str) -> bytes:
        self._tags.append(tag)
        return b"*3\r\n$5\r\nRPUSH\r\n$3\r\nlog\r\n$%d\r\n%s\r\n" % (len(text), text.encode())

    def feed(self, data: bytes) -> tuple[list[tuple[int, bool]], bytes]:
        *lines, self._unread = (self._unread + data).split(b"\r\n")
        return [(self._tags.popleft(), line.startswith(b":")) for line in lines], b""

    @staticmethod
    def list_items(address: str) -> list[str]:
        """All that was appended."""
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as opened, opened.makefile("rb") as answers:
            opened.sendall(b"*4\r\n$6\r\nLRANGE\r\n$3\r\nlog\r\n$1\r\n0\r\n$2\r\n-1\r\n")
            count = int(answers.readline()[1:])
            return [answers.read(int(answers.readline()[1:]) + 2)[:-2].decode() for _ in range(count)]
