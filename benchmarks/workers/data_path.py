"""The data path of a replicated log, and nothing else: the yardstick for what embeds.

One thread a node. The leader gathers what waits into a batch, sends it, writes it with one synced LMDB transaction, and
counts the followers that have done the same; every node folds what is committed into a list. There are neither terms
nor checks: no real log can be as fast, and how near one comes is the figure.

python -m benchmarks.workers.data_path leader|follower DIRECTORY ADDRESS…
"""

from __future__ import annotations

import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import zmq

from benchmarks.exactly_once import verdict
from benchmarks.workers.lines import serve
from benchmarks.workers.recorder import Payloads, Recorder

BATCH_MAX = 1024
PAYLOAD_BYTES = 32
MAP_BYTES = 4 << 30
INDEX = struct.Struct(">Q")
APPEND_HEAD = struct.Struct(">QQ")  # index of the first entry, commit index
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class Log:
    """A log on disk and in memory, and the list that it folds into."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._environment = lmdb.open(str(directory), map_size=MAP_BYTES, lib_version=0)
        self.entries: list[bytes] = []
        self.state: list[str] = []

    def append(self, entries: list[bytes]) -> None:
        """On disk when it returns."""
        pairs = [(INDEX.pack(index), entry) for index, entry in enumerate(entries, len(self.entries))]
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs, append=True)
        self.entries += entries

    def fold(self, commit_index: int) -> None:
        state, entries = self.state, self.entries
        for index in range(len(state), min(commit_index, len(entries))):
            state.append(decode(entries[index])["thing"])


def follow(directory: Path, address: str) -> None:
    log = Log(directory)
    link = zmq.Context().socket(zmq.PAIR)
    link.set_hwm(0)
    link.bind(address)
    while True:
        link.poll()
        commit_index, batch = 0, []
        while link.poll(0):
            message = link.recv()
            _, commit_index = APPEND_HEAD.unpack_from(message)
            batch += decode(memoryview(message)[APPEND_HEAD.size :])
        if batch:
            log.append(batch)
        link.send(INDEX.pack(len(log.entries)))
        log.fold(commit_index)


class Leader:
    """The leader, with a closed loop of appends inside."""

    def __init__(self, directory: Path, addresses: list[str]) -> None:
        context = zmq.Context()
        self._log = Log(directory)
        self._poller = zmq.Poller()
        self._match: dict[zmq.Socket[bytes], int] = {}
        for address in addresses:
            link = context.socket(zmq.PAIR)
            link.set_hwm(0)
            link.connect(address)
            self._poller.register(link, zmq.POLLIN)
            self._match[link] = 0
        self._commit_index = 0
        self._source = Payloads()
        self._payloads: list[str] = []
        self._asked: deque[float] = deque()  # when each entry that is not committed was asked for
        self._waiting: list[bytes] = []

    def load(self, in_flight: int, seconds: float = 2.0, warm_up_seconds: float = 0.5) -> dict[str, Any]:
        recorder = Recorder(seconds, warm_up_seconds)
        now = time.monotonic()
        self._ask(recorder.may_ask(now, in_flight), now)
        while self._commit_index < len(self._log.entries) + len(self._waiting):
            if self._waiting and self._commit_index == len(self._log.entries):
                self._replicate()
            committed = self._hear()
            now = time.monotonic()
            recorder.answered_all([self._asked.popleft() for _ in range(committed)], now)
            self._ask(recorder.may_ask(now, committed), now)
        return recorder.report()

    def check(self) -> dict[str, Any]:
        state = self._log.state
        return {"problems": verdict(state, self._payloads[: self._commit_index]), "state_length": len(state)}

    def _ask(self, count: int, now: float) -> None:
        for _ in range(count):
            text = self._source.next(PAYLOAD_BYTES)
            self._payloads.append(text)
            self._waiting.append(encode({"type": "append", "thing": text}))
            self._asked.append(now)

    def _replicate(self) -> None:
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        message = APPEND_HEAD.pack(len(self._log.entries), self._commit_index) + encode(batch)
        for link in self._match:
            link.send(message)
        self._log.append(batch)

    def _hear(self) -> int:
        """Wait for followers; how many entries they made committed."""
        for link, _ in self._poller.poll(1000 if self._match else 0):
            self._match[link] = INDEX.unpack(link.recv())[0]
        level = sorted([len(self._log.entries), *self._match.values()], reverse=True)
        before, self._commit_index = self._commit_index, level[len(level) // 2]
        self._log.fold(self._commit_index)
        return self._commit_index - before


def main() -> None:
    role, directory, *addresses = sys.argv[1:]
    if role == "follower":
        follow(Path(directory), addresses[0])
    leader = Leader(Path(directory), addresses)
    serve({"load": leader.load, "check": leader.check, "role": lambda: {"leader": True}})


if __name__ == "__main__":
    main()
