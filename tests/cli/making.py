"""Directories of nodes, made without a node."""

from __future__ import annotations

from pathlib import Path

import lmdb
import msgspec

from conflux.node.directory import SELF, Self
from conflux.raft.entry import Entry, Kind
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.store.records import Calls, Header, Record, SessionClosed, SessionOpened, StateHash, encode_payload
from conflux.wire import values
from conflux.wire.clients import Rejection

WALL_US = 1_893_456_000_000_000  # 2030-01-01


def payload(*records: Record, first_revision: int = 1, actions: int = 0) -> bytes:
    header = Header(app_version=1, actions=actions, first_revision=first_revision, log_time_us=0, wall_time_us=WALL_US)
    return encode_payload(header, [*records])


def action(thing: object) -> bytes:
    return values.encode({"type": "append", "thing": thing})


def a_log() -> list[Entry]:
    """One entry of each kind."""
    calls = Calls(2, 1, 1, ["append"], [action("foo"), None, Rejection("ValueError", "no"), action(2)])
    return [
        Entry(1, 1, Kind.NOOP, payload()),
        Entry(2, 1, Kind.RECORDS, payload(SessionOpened(60))),
        Entry(3, 1, Kind.RECORDS, payload(calls, actions=2)),
        Entry(4, 1, Kind.RECORDS, payload(SessionClosed(2), first_revision=3)),
        Entry(5, 2, Kind.RECORDS, payload(first_revision=3)),
        Entry(6, 2, Kind.MEMBERSHIP, payload(first_revision=3)),
        Entry(7, 2, Kind.RECORDS, payload(StateHash(2, b"hash"), first_revision=3)),
    ]


def many(count: int, term: int = 1) -> list[Entry]:
    """So many entries of one action each."""
    return [
        Entry(
            index,
            term,
            Kind.RECORDS,
            payload(Calls(2, 1, index, ["append"], [action(index)]), actions=1, first_revision=index),
        )
        for index in range(1, count + 1)
    ]


def make(
    directory: Path, entries: list[Entry], *, identity: str, commit_index: int = 0, vote: str | None = None
) -> None:
    """A node's directory with this log."""
    storage = LmdbStorage.open(directory, create=True)
    mine = Self(
        identity=identity,
        label=directory.name,
        public_key="",
        secret_key="",
        cluster="conflux",
        size=3,
        app="list",
        app_version=1,
    )
    storage.record_facts({SELF: msgspec.msgpack.encode(mine)})
    storage.persist(term=entries[-1].term, vote=vote, entries=entries, commit_index=commit_index)
    storage.close()


def damage(directory: Path, index: int) -> None:
    """Flip a bit of an entry."""
    environment = lmdb.open(str(directory), max_dbs=3, map_size=1 << 30, lib_version=0)
    log = environment.open_db(b"log", create=False)
    with environment.begin(log, write=True) as transaction:
        key = index.to_bytes(8, "big")
        value = bytearray(transaction.get(key) or b"")
        value[-1] ^= 1
        transaction.put(key, bytes(value))
    environment.close()
