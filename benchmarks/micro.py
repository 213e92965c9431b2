"""Micro-benchmarks of the path of an action: codec, core, store, storage.

Each is timed in turn with a fixed loop of pure Python in the same run, in processor time, and given as a ratio to it:
that holds on a slower machine and on a busy one. A ratio that has grown past the baseline's by more than `--tolerance`
is a regression, and the exit status 1.

    python -m benchmarks.micro [--update] [--tolerance 1.5]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.figures import Spread, spread
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

BASELINE = Path(__file__).parent / "micro_baseline.json"
BATCH = 256  # actions an entry
ROUNDS = 7
ROUND_SECONDS = 0.05  # of processor time
LOOP_STEPS = 1000
ARGUMENTS = values.encode(["x" * 32])
ACTION = {"type": "append", "thing": "x" * 32}

Case = tuple[Callable[[], object], int]  # a step, and how many units of work it is


def reference() -> int:
    """The fixed loop: what a thousand simple steps of Python cost here and now."""
    total = 0
    for number in range(LOOP_STEPS):
        total += number & 7
    return total


def codec() -> Iterator[tuple[str, Case]]:
    packed = values.encode(ACTION)
    perform = Perform(1, 1, 1, 1, [("append", ARGUMENTS)] * BATCH)
    frame = CLIENTS.encode_for_client(perform)
    yield "codec: encode an action", (lambda: values.encode(ACTION), 1)
    yield "codec: decode an action", (lambda: values.decode(packed), 1)
    yield "codec: encode a call's frame, by call", (lambda: CLIENTS.encode_for_client(perform), BATCH)
    yield "codec: decode a call's frame, by call", (lambda: CLIENTS.decode_from_client(frame), BATCH)


def core() -> Iterator[tuple[str, Case]]:
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

    yield "core: a follower's entry", (step, 1)


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


def store() -> Iterator[tuple[str, Case]]:
    """The leader judges a batch; another node folds it."""
    opening = new_turn(Machine.initial(app))
    session = opening.open_session()
    assert isinstance(session, int)
    _, begun = opening.finish()
    perform = Perform(1, session, 0, 0, [("append", ARGUMENTS)] * BATCH)

    def judge() -> tuple[bytes, Machine]:
        turn = new_turn(begun)
        judged = turn.perform(perform)
        assert isinstance(judged, Judged) and judged.rest is None
        return turn.finish()

    entry = Entry(begun.index + 1, 1, Kind.RECORDS, judge()[0])
    yield "store: the leader's turn, by action", (judge, BATCH)
    yield "store: fold, by action", (lambda: fold(begun, entry, app), BATCH)


def new_turn(machine: Machine) -> Turn:
    """Its clock stands still: a turn that takes long would end before the batch does."""
    return Turn(app, machine, index=machine.index + 1, term=1, log_time_us=1, wall_time_us=1, clock=lambda: 0.0)


@contextmanager
def storage() -> Iterator[Iterator[tuple[str, Case]]]:
    """A batch's entry in a synced transaction; the time that the disk takes doesn't count."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as directory:
        opened = LmdbStorage.open(Path(directory) / "node", create=True)
        indices = count(1)
        payload = b"x" * 64 * BATCH

        def append() -> None:
            entry = Entry(next(indices), 1, Kind.RECORDS, payload)
            opened.persist(term=1, vote=None, entries=[entry], commit_index=0)

        try:
            yield iter([("storage: append a batch, by action", (append, BATCH))])
        finally:
            opened.close()


def measured() -> dict[str, Spread]:
    """Of each case, its ratio to the fixed loop's step."""
    found = {}
    with ExitStack() as stack:
        for cases in (codec(), core(), store(), stack.enter_context(storage())):
            for name, (step, units) in cases:
                step()  # what is done once, is done
                pairs = [(seconds_of(step) / units, seconds_of(reference) / LOOP_STEPS) for _ in range(ROUNDS)]
                found[name] = spread([ours / loops for ours, loops in pairs])
    return found


def seconds_of(step: Callable[[], object]) -> float:
    """Processor time of one step."""
    steps, began = 0, time.process_time()
    while (passed := time.process_time() - began) < ROUND_SECONDS:
        step()
        steps += 1
    return passed / steps


def regressions(ratios: dict[str, float], baseline: dict[str, float], tolerance: float) -> list[str]:
    """What has become slower than the tolerance allows, in words; what the baseline doesn't have, too."""
    problems = [f"{name}: there is no baseline, say --update" for name in ratios if name not in baseline]
    for name, before in baseline.items():
        if name not in ratios:
            problems.append(f"{name}: is not measured any more, say --update")
        elif ratios[name] > before * tolerance:
            problems.append(f"{name}: {ratios[name]:.2f}, and was {before:.2f}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--update", action="store_true", help="make what was measured the baseline")
    parser.add_argument("--tolerance", type=float, default=1.5, metavar="FACTOR")
    asked = parser.parse_args()
    found = measured()
    baseline: dict[str, Any] = json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else {}
    for name, ratio in found.items():
        was = f"{baseline[name]:>9.2f}" if name in baseline else f"{'-':>9}"
        print(f"{name:<40} {ratio.median:>9.2f} ({ratio.low:.2f}-{ratio.high:.2f}) steps of the loop; baseline {was}")
    if asked.update:
        rounded = {name: round(ratio.median, 3) for name, ratio in found.items()}
        BASELINE.write_text(json.dumps(rounded, indent=1) + "\n", "utf-8")
        return 0
    # The least of the rounds: what disturbs only ever adds.
    problems = regressions({name: ratio.low for name, ratio in found.items()}, baseline, asked.tolerance)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
