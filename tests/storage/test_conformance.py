"""What `Storage` promises, asked of the disk and of its memory twin alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from conflux.errors import Closed
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import InvariantViolated
from conflux.storage.interface import Restored, Storage
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.memory import MemoryStorage
from tests.storage.making import append, crash, entries, entry, read_all


class Place:
    """Where a storage lives; `reopen` is a restart of its node."""

    def __init__(self, storage: Storage, reopen: Callable[[Storage], Storage]) -> None:
        self.storage = storage
        self._reopen = reopen

    def reopen(self) -> Storage:
        self.storage = self._reopen(self.storage)
        return self.storage


def on_disk(directory: Path) -> Place:
    def reopen(storage: Storage) -> Storage:
        storage.close()
        return LmdbStorage.open(directory, create=False)

    return Place(LmdbStorage.open(directory, create=True), reopen)


def on_disk_after_a_crash(directory: Path) -> Place:
    """The end of the log is in the journal when it is opened again."""
    lives = count(1)

    def reopen(storage: Storage) -> Storage:
        crashed = crash(directory, directory.with_name(f"life{next(lives)}"))
        storage.close()
        return LmdbStorage.open(crashed, create=False)

    return Place(LmdbStorage.open(directory, create=True), reopen)


def in_memory(directory: Path) -> Place:
    def reopen(storage: Storage) -> Storage:
        assert isinstance(storage, MemoryStorage)
        return storage.reopened()

    return Place(MemoryStorage(), reopen)


@pytest.fixture(params=[on_disk, on_disk_after_a_crash, in_memory])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made: Place = request.param(tmp_path / "node")
    yield made
    made.storage.close()


@pytest.fixture
def storage(place: Place) -> Storage:
    return place.storage


def test_a_new_storage_restores_zeros_and_holds_nothing(storage: Storage) -> None:
    assert storage.restored() == Restored()
    assert storage.facts() == {}
    with pytest.raises(KeyError):
        storage.read(1, 1, 100)


def test_what_was_persisted_is_restored(place: Place) -> None:
    place.storage.persist(term=3, vote="b", entries=[*entries(1, 4, 1), *entries(5, 6, 3)], commit_index=4)
    assert place.reopen().restored() == Restored(
        term=3, vote="b", commit_index=4, last_index=6, last_term=3, term_starts=((1, 1), (5, 3))
    )
    assert read_all(place.storage, 1, 6) == [*entries(1, 4, 1), *entries(5, 6, 3)]


def test_restored_stays_what_was_found_at_opening(storage: Storage) -> None:
    append(storage, entries(1, 3))
    assert storage.restored() == Restored()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("payload", [b"", b"\0", b"x" * 3000, bytes(range(256)) * 2048])
def test_an_entry_comes_back_as_it_was(place: Place, kind: Kind, payload: bytes) -> None:
    written = Entry(1, 7, kind, payload)
    append(place.storage, [written])
    assert read_all(place.storage, 1, 1) == [written]
    assert read_all(place.reopen(), 1, 1) == [written]


@pytest.mark.parametrize("vote", [None, "", "a", "f" * 32, "ü" * 64])
def test_term_and_vote_go_down_without_entries(place: Place, vote: str | None) -> None:
    append(place.storage, entries(1, 2))
    place.storage.persist(term=9, vote=vote, entries=[], commit_index=2)
    restored = place.reopen().restored()
    assert (restored.term, restored.vote, restored.commit_index, restored.last_index) == (9, vote, 2, 2)


@pytest.mark.parametrize("first", [1, 2, 150, 299, 300])
def test_all_that_stands_from_the_first_new_entry_on_is_replaced(place: Place, first: int) -> None:
    append(place.storage, entries(1, 300))
    append(place.storage, entries(first, first + 1, 2))
    restored = place.reopen().restored()
    assert (restored.last_index, restored.last_term) == (first + 1, 2)
    assert restored.term_starts == (((1, 1), (first, 2)) if first > 1 else ((1, 2),))
    assert read_all(place.storage, 1, first + 1) == [*entries(1, first - 1), *entries(first, first + 1, 2)]


def test_many_writes_and_replacements_leave_what_the_last_of_them_said(place: Place) -> None:
    expected: list[Entry] = []
    for step in range(60):
        first = max(1, len(expected) + 1 - (step % 5) * 3)
        new = entries(first, first + step % 11, term=step + 1)
        append(place.storage, new)
        expected = expected[: first - 1] + new
    assert read_all(place.storage, 1, len(expected)) == expected
    assert read_all(place.reopen(), 1, len(expected)) == expected


def test_a_commit_index_that_lags_is_no_news(place: Place) -> None:
    append(place.storage, entries(1, 3), commit_index=3)
    append(place.storage, entries(4, 4), commit_index=1)
    assert place.reopen().restored().commit_index == 3


def test_read_ends_where_the_log_does(storage: Storage) -> None:
    append(storage, entries(1, 5))
    assert storage.read(4, 99, 2**62) == entries(4, 5)


@pytest.mark.parametrize(("bytes_max", "expected"), [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3)])
def test_read_gives_one_entry_and_then_what_the_limit_of_payload_allows(
    storage: Storage, bytes_max: int, expected: int
) -> None:
    append(storage, [entry(index, payload=b"x" * 10) for index in range(1, 4)])
    assert len(storage.read(1, 3, bytes_max)) == expected


@pytest.mark.parametrize("first", [0, 4, 2**40])
def test_reading_from_outside_of_the_log_is_a_key_error(storage: Storage, first: int) -> None:
    append(storage, entries(1, 3))
    with pytest.raises(KeyError):
        storage.read(first, first, 100)


def test_facts_stand_beside_those_that_are_there(place: Place) -> None:
    place.storage.record_facts({"identity": b"\1" * 16, "app": b"list"})
    place.storage.record_facts({"app": b"kv", "empty": b""})
    expected = {"identity": b"\1" * 16, "app": b"kv", "empty": b""}
    assert place.storage.facts() == expected
    assert place.reopen().facts() == expected


def test_facts_and_log_do_not_touch_each_other(place: Place) -> None:
    append(place.storage, entries(1, 3))
    place.storage.record_facts({"log": b"a fact", "hard_state": b"another"})
    assert place.reopen().restored().last_index == 3
    assert place.storage.facts() == {"log": b"a fact", "hard_state": b"another"}


def test_changing_what_facts_returned_changes_nothing(storage: Storage) -> None:
    storage.facts()["name"] = b"content"
    assert storage.facts() == {}


@pytest.mark.parametrize(
    ("term", "vote", "first", "last", "entry_term", "commit_index", "sentence"),
    [
        (4, "a", 11, 11, 4, 5, "the term never goes back"),
        (5, "b", 11, 11, 5, 5, "a vote is never changed"),
        (5, None, 11, 11, 5, 5, "a vote is never changed"),
        (5, "a", 12, 12, 5, 5, "the log has no gap"),
        (5, "a", 5, 6, 5, 5, "a committed entry is never replaced"),
        (5, "a", 0, 1, 5, 5, "entries below the snapshot"),
        (5, "a", 11, 11, 6, 5, "no entry is of a term that the node hasn't reached"),
        (5, "a", 11, 11, 4, 5, "terms in the log never go back"),
        (5, "a", 8, 8, 4, 5, "terms in the log never go back"),
        (5, "a", 11, 12, 5, 13, "the commit index never runs ahead"),
        (6, "a", 7, 7, 6, 8, "the commit index never runs ahead"),
        (2**63, "a", 11, 11, 5, 5, "terms stay far from a wrap"),
    ],
)
def test_a_write_that_breaks_an_invariant_is_refused_and_changes_nothing(
    place: Place, term: int, vote: str | None, first: int, last: int, entry_term: int, commit_index: int, sentence: str
) -> None:
    place.storage.persist(term=5, vote="a", entries=entries(1, 10, 5), commit_index=5)
    with pytest.raises(InvariantViolated, match=sentence):
        place.storage.persist(term=term, vote=vote, entries=entries(first, last, entry_term), commit_index=commit_index)
    restored = place.reopen().restored()
    assert (restored.term, restored.vote, restored.commit_index, restored.last_index) == (5, "a", 5, 10)


def test_entries_of_one_write_are_contiguous(storage: Storage) -> None:
    with pytest.raises(InvariantViolated, match="contiguous"):
        append(storage, [entry(1), entry(3)])


def test_a_range_that_ends_before_it_begins_is_a_mistake_of_the_caller(storage: Storage) -> None:
    append(storage, entries(1, 3))
    with pytest.raises(InvariantViolated):
        storage.read(2, 1, 100)


@pytest.mark.parametrize("name", ["", "n" * 200])
def test_C18_a_fact_whose_name_the_disk_would_not_take_is_refused_everywhere(storage: Storage, name: str) -> None:
    with pytest.raises(InvariantViolated):
        storage.record_facts({name: b""})


def test_a_vote_can_be_given_once_in_a_term(place: Place) -> None:
    place.storage.persist(term=5, vote=None, entries=[], commit_index=0)
    place.storage.persist(term=5, vote="a", entries=[], commit_index=0)
    place.storage.persist(term=5, vote="a", entries=entries(1, 1, 5), commit_index=0)
    assert place.reopen().restored().vote == "a"


def test_a_closed_storage_refuses_everything_but_close(storage: Storage) -> None:
    storage.close()
    storage.close()
    for use in (
        storage.restored,
        storage.facts,
        lambda: storage.read(1, 1, 1),
        lambda: storage.record_facts({}),
        lambda: storage.persist(term=1, vote=None, entries=[], commit_index=0),
    ):
        with pytest.raises(Closed):
            use()
