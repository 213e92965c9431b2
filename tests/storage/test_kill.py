"""kill -9 at any instant: what was acknowledged is there."""

from __future__ import annotations

import signal
from pathlib import Path

from conflux.storage.lmdb_storage import LmdbStorage
from tests.storage.making import Processes, read_all, run
from tests.storage.writing import voted_for, written


def test_C1_everything_acknowledged_is_there_after_kill_9(tmp_path: Path, processes: Processes) -> None:
    directory = tmp_path / "node"
    terms: dict[int, int] = {}
    for cycle in range(10):
        writer = run(processes, "writing", directory)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(5 + 11 * cycle)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()  # not communicate(): it loses what readline() had buffered
        acknowledged = [(int(line.split()[0]), int(line.split()[1])) for line in lines if len(line.split()) == 2]
        for index, term in acknowledged:
            terms = {older: terms[older] for older in range(1, index)} | {index: term}
        storage = LmdbStorage.open(directory, create=False)
        restored, last = storage.restored(), storage.restored().last_index
        found = read_all(storage, 1, last)
        storage.close()
        # At most one write more than was acknowledged: it stands at the end.
        assert found[:-1] == [written(index, terms[index]) for index in range(1, last)]
        assert found[-1] == written(last, restored.last_term)
        index, term = acknowledged[-1]
        assert (restored.term, last) in {(term, index), (term, index + 1), (term + 1, index - 2)}
        assert restored.vote == voted_for(restored.term)
        terms = {entry.index: entry.term for entry in found}
