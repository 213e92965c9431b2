"""Reading a node's directory beside the node, without it, and when it is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb.verify
import pytest

from conflux import limits
from conflux.errors import AlreadyOpen, Closed, Damaged, NewerFormat, WrongDirectory
from conflux.storage.environment import DATA_FILE
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.reader import SLICE_ENTRIES_MAX, LogReader, LogState
from tests.storage.making import Processes, append, entries, entry, run

LAST = 3 * SLICE_ENTRIES_MAX + 10


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed node's directory with some slices of entries."""
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    storage.persist(term=2, vote="a", entries=[*entries(1, LAST - 1), *entries(LAST, LAST, 2)], commit_index=LAST - 1)
    storage.record_facts({"identity": b"\1" * 16})
    storage.close()
    return tmp_path / "node"


def test_it_reads_without_the_node_and_writes_nothing(directory: Path) -> None:
    before = (directory / DATA_FILE).read_bytes()
    reader = LogReader.open(directory)
    assert reader.hard_state() == LogState(
        term=2,
        vote="a",
        commit_index=LAST - 1,
        snapshot_index=0,
        snapshot_term=0,
        first_index=1,
        last_index=LAST,
        last_term=2,
    )
    assert reader.facts() == {"identity": b"\1" * 16}
    assert list(reader.entries(1, 2**62)) == [
        *((each, True) for each in entries(1, LAST - 1)),
        (entries(LAST, LAST, 2)[0], True),
    ]
    reader.close()
    assert (directory / DATA_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(1, 1, 1), (0, 2, 2), (-5, 2, 2), (5, 4, 0), (LAST, LAST + 9, 1), (LAST + 1, LAST + 9, 0), (250, 260, 11)],
)
def test_entries_are_those_of_the_range_that_are_there(directory: Path, first: int, last: int, expected: int) -> None:
    reader = LogReader.open(directory)
    assert len(list(reader.entries(first, last))) == expected
    reader.close()


def test_an_empty_log_is_read_as_such(tmp_path: Path) -> None:
    LmdbStorage.open(tmp_path / "node", create=True).close()
    reader = LogReader.open(tmp_path / "node")
    state = reader.hard_state()
    assert (state.first_index, state.last_index, state.last_term) == (1, 0, 0)
    assert list(reader.entries(1, 100)) == []
    reader.close()


def test_it_reads_beside_the_running_node_and_sees_what_it_writes(tmp_path: Path, processes: Processes) -> None:
    LmdbStorage.open(tmp_path / "node", create=True).close()
    node = run(processes, "holding", tmp_path / "node")
    assert node.stdin is not None
    assert node.stdout is not None
    assert node.stdout.readline() == "open\n"
    reader = LogReader.open(tmp_path / "node")
    for index in range(1, 6):
        node.stdin.write(f"{index}\n")
        node.stdin.flush()
        assert node.stdout.readline() == f"persisted {index}\n"
        assert reader.hard_state().last_index == index
        assert [each.index for each, _ in reader.entries(1, 100)] == list(range(1, index + 1))
    reader.close()
    node.communicate()


def test_a_node_that_is_started_while_its_files_are_looked_at_is_not_taken_for_damage(
    directory: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written just then looks damaged: here it is found so in every run, once the node has the directory."""
    nodes = []

    def while_the_node_starts(_file: str, **_: object) -> list[str]:
        nodes.append(run(processes, "holding", directory))
        assert nodes[0].stdout.readline() == "open\n"
        return ["a page that is being written"]

    monkeypatch.setattr(lmdb.verify, "verify", while_the_node_starts)
    reader = LogReader.open(directory)
    assert reader.hard_state().last_index == LAST
    reader.close()
    nodes[0].communicate()


def test_C11_no_read_transaction_stays_open_between_two_entries(directory: Path) -> None:
    reader = LogReader.open(directory)
    for number, _ in enumerate(reader.entries(1, LAST)):
        if number % 100 == 0:
            assert str(os.getpid()) not in reader._environment.env.readers()
    reader.close()


def test_C6_a_damaged_entry_is_shown_as_such_and_the_rest_is_read(directory: Path) -> None:
    content = (directory / DATA_FILE).read_bytes()
    (directory / DATA_FILE).write_bytes(content.replace(b"payload of 300 in term 1", b"pAyload of 300 in term 1"))
    reader = LogReader.open(directory)
    wrong = [each for each, right in reader.entries(1, LAST) if not right]
    assert wrong == [entry(300, 1, b"pAyload of 300 in term 1")]
    assert len(list(reader.entries(1, LAST))) == LAST
    reader.close()


def test_C7_a_truncated_file_is_damage(directory: Path) -> None:
    os.truncate(directory / DATA_FILE, 20_000)
    with pytest.raises(Damaged):
        LogReader.open(directory)


def test_C9_the_process_that_has_it_open_is_told_so(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    with pytest.raises(AlreadyOpen, match="this process"):
        LogReader.open(directory)
    append(storage, entries(LAST + 1, LAST + 1, 3))
    storage.close()


def test_C16_a_newer_format_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORMAT_VERSION", 0)
    with pytest.raises(NewerFormat):
        LogReader.open(directory)


def test_where_no_data_stands_it_is_one_clear_line(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(WrongDirectory, match=str(path)):
            LogReader.open(path)


def test_a_closed_reader_refuses(directory: Path) -> None:
    reader = LogReader.open(directory)
    reader.close()
    reader.close()
    with pytest.raises(Closed):
        reader.hard_state()
