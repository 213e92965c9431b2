"""Micro-benchmarks of the path of an action: codec, core, store, storage. `make bench-micro` runs them."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from random import Random

from benchmarks.micro.ratios import ByTheLoop
from conflux.apps.list import app
from conflux.raft.configuration import Configuration
from conflux.raft.core import Raft
from conflux.raft.effects import Commit, Persist
from conflux.raft.entry import Entry, Kind
from conflux.raft.log import Log
from conflux.raft.messages import Append, Envelope
from conflux.raft.options import Options
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.memory import MemoryStorage
from conflux.store.machine import Machine, fold
from conflux.store.turn import Judged, Turn
from conflux.wire import values
from conflux.wire.clients import CLIENTS, Perform

BATCH = 256  # actions an entry
ARGUMENTS = values.encode_list(["x" * 32])
ACTION = {"type": "append", "thing": "x" * 32}
PACKED = values.encode(ACTION)
CALLS = Perform(1, 1, 1, 1, [("append", ARGUMENTS)] * BATCH)


def test_codec_encode_the_arguments_of_a_call(by_the_loop: ByTheLoop) -> None:
    by_the_loop(lambda: values.encode_list(("x" * 32,)))


def test_codec_decode_the_arguments_of_a_call(by_the_loop: ByTheLoop) -> None:
    by_the_loop(lambda: values.decode(ARGUMENTS))


def test_codec_encode_an_action(by_the_loop: ByTheLoop) -> None:
    by_the_loop(lambda: values.encode_with_copy(ACTION))


def test_codec_decode_an_action(by_the_loop: ByTheLoop) -> None:
    by_the_loop(lambda: values.decode_trusted(PACKED))


def test_codec_encode_a_frame_by_call(by_the_loop: ByTheLoop) -> None:
    by_the_loop(lambda: CLIENTS.encode_for_client(CALLS), BATCH)


def test_codec_decode_a_frame_by_call(by_the_loop: ByTheLoop) -> None:
    frame = CLIENTS.encode_for_client(CALLS)
    by_the_loop(lambda: CLIENTS.decode_from_client(frame), BATCH)


def test_core_a_followers_entry(by_the_loop: ByTheLoop) -> None:
    """A follower takes an entry, and its shell carries out what follows."""
    storage = MemoryStorage()
    follower = Raft(
        identity="a",
        configuration=Configuration.of("abc"),
        options=Options(),
        log=Log(storage, cache_bytes_max=Options().tail_cache_bytes_max),
        random=Random(1),
        noop_payload=lambda last: b"",
    )
    indices = count(1)

    def step() -> None:
        index = next(indices)
        entry = Entry(index, 1, Kind.RECORDS, b"x" * 64)
        message = Append(
            prev_index=index - 1, prev_term=min(1, index - 1), entries=(entry,), commit_index=max(0, index - 1)
        )
        follower.step(Envelope("b", "a", 1, message))
        carry_out(follower, storage)

    by_the_loop(step)


def test_store_a_leaders_turn_by_action(by_the_loop: ByTheLoop) -> None:
    begun, perform = begun_session()
    by_the_loop(lambda: judged(begun, perform), BATCH)


def test_store_fold_by_action(by_the_loop: ByTheLoop) -> None:
    begun, perform = begun_session()
    entry = Entry(begun.index + 1, 1, Kind.RECORDS, judged(begun, perform))
    by_the_loop(lambda: fold(begun, entry, app), BATCH)


def test_storage_append_a_batch_by_action(by_the_loop: ByTheLoop, tmp_path: Path) -> None:
    """A batch's entry in a synced write; the time that the disk takes doesn't count."""
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    indices, payload = count(1), b"x" * 64 * BATCH

    def append() -> None:
        entry = Entry(next(indices), 1, Kind.RECORDS, payload)
        storage.persist(term=1, vote=None, entries=[entry], commit_index=0)

    try:
        by_the_loop(append, BATCH)
    finally:
        storage.close()


def carry_out(raft: Raft, storage: MemoryStorage) -> None:
    """What a shell does, without a network."""
    while effects := raft.take_effects():
        for effect in effects:
            match effect:
                case Persist():
                    storage.persist(
                        term=effect.term, vote=effect.vote, entries=effect.entries, commit_index=effect.commit_index
                    )
                    raft.persisted(effect.term, effect.last_index)
                case Commit():
                    raft.applied(effect.last)


def begun_session() -> tuple[Machine, Perform]:
    """A machine with a session, and a batch of its calls."""
    opening = new_turn(Machine.initial(app))
    session = opening.open_session()
    assert isinstance(session, int)
    return opening.finish()[1], Perform(1, session, 0, 0, CALLS.calls)


def judged(machine: Machine, perform: Perform) -> bytes:
    """The payload of the entry that a leader makes of a batch."""
    turn = new_turn(machine)
    found = turn.perform(perform)
    assert isinstance(found, Judged) and found.rest is None
    return turn.finish()[0]


def new_turn(machine: Machine) -> Turn:
    """Its clock stands still: a turn that takes long would end before the batch does."""
    return Turn(app, machine, index=machine.index + 1, term=1, log_time_us=1, wall_time_us=1, clock=lambda: 0.0)
