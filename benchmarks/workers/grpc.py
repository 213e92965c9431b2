"""etcd's Put over gRPC, made by hand: HTTP/2 frames whose headers are the same in every request.

A general gRPC client spends more on a call than etcd does; this spends about a tenth of that.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
WINDOW_UPDATE = 0x8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
INITIAL_WINDOW_SIZE = 0x4
WINDOW_FIRST = 65_535  # bytes that may be sent before the other side says how many more
WINDOW_MAX = 2**31 - 1
FRAME_BYTES_MAX = 16_384
FRAME_HEAD_BYTES = 9
# Of HPACK's static table: where the names and pairs stand that a gRPC request needs.
AUTHORITY, METHOD_POST, PATH, SCHEME_HTTP, CONTENT_TYPE = 1, 3, 4, 6, 31
DYNAMIC_FIRST = 62  # the entry that was added last


@dataclass(slots=True)
class _Unsent:
    """What is left of a request's message, and how much of it its stream may carry."""

    message: bytes
    window: int


class GrpcConnection:
    """One connection: each request is a stream; a stream with a message in its answer was acknowledged."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stream = -1
        self._tags: dict[int, int] = {}
        self._answered: set[int] = set()  # streams whose message has come, but not their end
        self._unread = b""
        self._window = WINDOW_FIRST  # of the connection
        self._stream_window = WINDOW_FIRST  # that a new stream has
        self._unsent: dict[int, _Unsent] = {}

    def greeting(self) -> bytes:
        """Preface, settings, and a window that never closes: the answers are small and read at once."""
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW_MAX)
        window = struct.pack(">I", WINDOW_MAX - WINDOW_FIRST)
        return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window)

    def request(self, tag: int, text: str) -> bytes:
        self._stream += 2
        self._tags[self._stream] = tag
        headers = first_headers(self._address) if self._stream == 1 else LATER_HEADERS
        message = put_request(f"log/{text}".encode(), text.encode())
        self._unsent[self._stream] = _Unsent(message, self._stream_window)
        return frame(HEADERS, END_HEADERS, self._stream, headers) + self._data()

    def feed(self, data: bytes) -> tuple[list[tuple[int, bool]], bytes]:
        buffer = self._unread + data
        answered: list[tuple[int, bool]] = []
        reply = b""
        at = 0
        while at + FRAME_HEAD_BYTES <= len(buffer):
            length_high, length_low, kind, flags, stream = struct.unpack_from(">BHBBI", buffer, at)
            end = at + FRAME_HEAD_BYTES + (length_high << 16 | length_low)
            if end > len(buffer):
                break
            if kind == DATA:
                self._answered.add(stream)
            elif (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
                answered.append((self._tags.pop(stream), stream in self._answered))
                self._answered.discard(stream)
            elif kind == WINDOW_UPDATE:
                self._widen(stream, int.from_bytes(buffer[end - 4 : end]))
            elif kind in (SETTINGS, PING) and not flags & ACK:
                content = buffer[at + FRAME_HEAD_BYTES : end]
                reply += frame(kind, ACK, 0, content if kind == PING else b"")
                if kind == SETTINGS:
                    self._set(content)
            elif kind == GOAWAY:
                raise ConnectionError(f"{self._address} says good-bye: {buffer[at + FRAME_HEAD_BYTES : end]!r}")
            at = end
        self._unread = buffer[at:]
        return answered, reply + self._data()

    def _data(self) -> bytes:
        """The frames of messages, as far as the windows are open."""
        parts = []
        for stream, unsent in list(self._unsent.items()):
            while unsent.message and (size := min(len(unsent.message), unsent.window, self._window, FRAME_BYTES_MAX)):
                part, unsent.message = unsent.message[:size], unsent.message[size:]
                unsent.window -= size
                self._window -= size
                parts.append(frame(DATA, 0 if unsent.message else END_STREAM, stream, part))
            if not unsent.message:
                del self._unsent[stream]
            if not self._window:
                break
        return b"".join(parts)

    def _widen(self, stream: int, more: int) -> None:
        if not stream:
            self._window += more
        elif stream in self._unsent:
            self._unsent[stream].window += more

    def _set(self, content: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", content):
            if name == INITIAL_WINDOW_SIZE:
                for unsent in self._unsent.values():
                    unsent.window += value - self._stream_window
                self._stream_window = value


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    length = len(content)
    return struct.pack(">BHBBI", length >> 16, length & 0xFFFF, kind, flags, stream) + content


def put_request(key: bytes, value: bytes) -> bytes:
    """A gRPC message (uncompressed, with its length) that holds etcd's PutRequest: field 1 the key, 2 the value."""
    message = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value
    return b"\x00" + struct.pack(">I", len(message)) + message


def first_headers(address: str) -> bytes:
    """The header block of a connection's first request: what it adds to the dynamic table, later ones point at."""
    return b"".join(
        [
            _indexed(METHOD_POST),
            _indexed(SCHEME_HTTP),
            _added(PATH, b"/etcdserverpb.KV/Put"),
            _added(AUTHORITY, address.encode()),
            _added(CONTENT_TYPE, b"application/grpc"),
            b"\x40" + _string(b"te") + _string(b"trailers"),
        ]
    )


def _indexed(index: int) -> bytes:
    return bytes([0x80 | index])


def _added(name: int, value: bytes) -> bytes:
    return bytes([0x40 | name]) + _string(value)


def _string(text: bytes) -> bytes:
    return bytes([len(text)]) + text  # without Huffman coding; all are shorter than 127


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


# In the order of `first_headers`: the entry that was added first has moved furthest back.
LATER_HEADERS = b"".join(
    [_indexed(METHOD_POST), _indexed(SCHEME_HTTP), *(_indexed(DYNAMIC_FIRST + back) for back in (3, 2, 1, 0))]
)
