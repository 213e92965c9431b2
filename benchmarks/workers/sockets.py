"""Load on etcd and Redis over plain sockets: requests are made by hand, so that this process is not what limits.

python -m benchmarks.workers.sockets etcd|redis HOST:PORT
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from benchmarks.exactly_once import verdict
from benchmarks.workers.grpc import GrpcConnection
from benchmarks.workers.lines import Answer, serve
from benchmarks.workers.recorder import DRAIN_SECONDS_MAX, PAUSE_SECONDS, PROBE_SECONDS_AFTER, Payloads, Recorder
from benchmarks.workers.resp import RespConnection

CONNECTIONS_MAX = 8
RECEIVE_BYTES = 1 << 18


class Connection(Protocol):
    """How one protocol asks and hears; the tags come back in `feed`."""

    def greeting(self) -> bytes: ...

    def request(self, tag: int, text: str) -> bytes:
        """The bytes that ask to append `text`."""

    def feed(self, data: bytes) -> tuple[list[tuple[int, bool]], bytes]:
        """What was answered, as (tag, whether it was acknowledged), and what must be sent in return."""


class SocketLoad:
    """A closed loop over a few connections, in one thread, without a thread or a task a call."""

    def __init__(self, address: str, connect: Callable[[str], Connection]) -> None:
        self._address = address
        self._connect = connect
        self.payloads = Payloads()

    def commands(self) -> dict[str, Callable[..., Answer]]:
        """What a worker that holds this can be asked for."""
        return {"load": self.run, "fill": self.fill, "probe": self.probe}

    def run(
        self,
        in_flight: int,
        seconds: float = 2.0,
        warm_up_seconds: float = 0.5,
        size_bytes: int = 32,
        connections: int = CONNECTIONS_MAX,
    ) -> dict[str, Any]:
        recorder = Recorder(seconds, warm_up_seconds)
        return self._go(_Run(recorder, self.payloads, size_bytes), in_flight, connections)

    def fill(self, total: int, in_flight: int, size_bytes: int = 32) -> dict[str, Any]:
        recorder = Recorder(0.0, 0.0, total)
        return self._go(_Run(recorder, self.payloads, size_bytes), in_flight, CONNECTIONS_MAX)

    def probe(self, rate: int, seconds: float, size_bytes: int = 32) -> dict[str, Any]:
        """An open loop: so many calls a second, whatever becomes of those before; when each was acknowledged."""
        answered_at: list[float] = []
        texts: dict[int, str] = {}
        with ExitStack() as stack:
            link, protocol = self._open(stack), self._connect(self._address)
            link.sendall(protocol.greeting())
            asked, began = 0, time.monotonic()
            while (now := time.monotonic()) < began + seconds + PROBE_SECONDS_AFTER:
                due = began + asked / rate if asked < rate * seconds else began + seconds + PROBE_SECONDS_AFTER
                if now >= due:
                    asked += 1
                    text = self.payloads.next(size_bytes)
                    self.payloads.uncertain.append(text)
                    texts[self.payloads.made] = text
                    link.sendall(protocol.request(self.payloads.made, text))
                elif select.select([link], [], [], due - now)[0]:
                    answered, reply = protocol.feed(link.recv(RECEIVE_BYTES))
                    for tag, is_acknowledged in answered:
                        if is_acknowledged:
                            self.payloads.acknowledged.append(texts[tag])
                            answered_at.append(time.monotonic())
                    link.sendall(reply)
        return {"answered_at": answered_at, "until": began + seconds, "asked": asked}

    def _go(self, run: _Run, in_flight: int, connections: int) -> dict[str, Any]:
        with ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            count = min(connections, in_flight)
            links = [(self._open(stack), self._connect(self._address)) for _ in range(count)]
            for number, (link, protocol) in enumerate(links):
                selector.register(link, selectors.EVENT_READ, (link, protocol))
                share = in_flight // count + (number < in_flight % count)
                link.sendall(protocol.greeting() + run.ask(protocol, share))
            while run.asked and time.monotonic() < run.recorder.until + DRAIN_SECONDS_MAX:
                for key, _ in selector.select(1.0):
                    self._answer(run, *key.data)
        return run.report()

    def _open(self, stack: ExitStack) -> socket.socket:
        host, _, port = self._address.rpartition(":")
        link = stack.enter_context(socket.create_connection((host, int(port))))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def _answer(self, run: _Run, link: socket.socket, protocol: Connection) -> None:
        if not (data := link.recv(RECEIVE_BYTES)):
            raise ConnectionError(f"{self._address} closed the connection")
        answered, reply = protocol.feed(data)
        if reply := reply + run.take(protocol, answered):
            link.sendall(reply)


class _Run:
    """One load."""

    def __init__(self, recorder: Recorder, payloads: Payloads, size_bytes: int) -> None:
        self.recorder = recorder
        self.asked: dict[int, tuple[float, str]] = {}
        self._payloads = payloads
        self._size_bytes = size_bytes

    def ask(self, protocol: Connection, count: int) -> bytes:
        """The bytes of up to `count` further requests."""
        now = time.monotonic()
        parts = []
        for _ in range(self.recorder.may_ask(now, count)):
            text = self._payloads.next(self._size_bytes)
            tag = self._payloads.made
            self.asked[tag] = (now, text)
            parts.append(protocol.request(tag, text))
        return b"".join(parts)

    def take(self, protocol: Connection, answered: list[tuple[int, bool]]) -> bytes:
        """Note what was answered; the bytes of the requests that follow."""
        now, asked = time.monotonic(), []
        for tag, is_acknowledged in answered:
            when, text = self.asked.pop(tag)
            if is_acknowledged:
                self._payloads.acknowledged.append(text)
                asked.append(when)
            else:
                self._payloads.uncertain.append(text)
                self.recorder.failed("refused")
        self.recorder.answered_all(asked, now)
        if not all(is_acknowledged for _, is_acknowledged in answered):
            time.sleep(PAUSE_SECONDS)
        return self.ask(protocol, len(answered)) if answered else b""

    def report(self) -> dict[str, Any]:
        self._payloads.uncertain += [text for _, text in self.asked.values()]
        return self.recorder.report(is_drained=not self.asked)


LOG_KEYS = {"key": b64encode(b"log/").decode(), "range_end": b64encode(b"log0").decode()}


def etcd_length(address: str) -> int:
    """How many appends a cluster holds; linearizable."""
    return int(_range(address, count_only=True).get("count", 0))


def _range(address: str, **options: bool) -> dict[str, Any]:
    """All keys of the log, by etcd's JSON gateway."""
    question = json.dumps({**LOG_KEYS, **options}).encode()
    with urllib.request.urlopen(f"http://{address}/v3/kv/range", question, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def check_etcd(address: str, load: SocketLoad) -> dict[str, Any]:
    # A key that was put twice has version 2.
    found = _range(address, keys_only=True).get("kvs", [])
    state = [each["key"] for each in found for _ in range(int(each["version"]))]
    keys = [b64encode(f"log/{text}".encode()).decode() for text in load.payloads.acknowledged]
    uncertain = [b64encode(f"log/{text}".encode()).decode() for text in load.payloads.uncertain]
    return {"problems": verdict(state, keys, uncertain), "state_length": len(state)}


def check_redis(address: str, load: SocketLoad) -> dict[str, Any]:
    state = RespConnection.list_items(address)
    return {"problems": verdict(state, load.payloads.acknowledged, load.payloads.uncertain), "state_length": len(state)}


def main() -> None:
    kind, address = sys.argv[1:]
    load = SocketLoad(address, GrpcConnection if kind == "etcd" else RespConnection)
    check = check_etcd if kind == "etcd" else check_redis

    def length() -> dict[str, Any]:
        return {"length": etcd_length(address)}

    serve(
        {
            "load": load.run,
            "fill": load.fill,
            "probe": load.probe,
            "check": lambda: check(address, load),
            "length": length,
        }
    )


if __name__ == "__main__":
    main()
