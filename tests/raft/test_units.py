"""The small parts, against models: term runs, the log, majorities, and what a leader keeps of a follower."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conflux.raft.configuration import Configuration, majority, quorum_index
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import InvariantViolated
from conflux.raft.log import Log
from conflux.raft.options import Options
from conflux.raft.progress import Mode, Progress
from conflux.raft.terms import TermRuns
from tests.raft.harness import Disk, entries

# Rising terms, as a log has them.
terms = st.lists(st.integers(0, 2), max_size=40).map(lambda steps: [1 + sum(steps[: n + 1]) for n in range(len(steps))])
names = st.lists(st.sampled_from("abcdefghi"), unique=True)


def runs_of(log: list[int]) -> TermRuns:
    runs = TermRuns()
    for index, term in enumerate(log, 1):
        runs.append(index, term)
    return runs


# -- term runs ---------------------------------------------------------------------------------------------------


@given(terms)
def test_runs_know_each_entrys_term(log):
    runs = runs_of(log)
    assert [runs.at(index) for index in range(1, len(log) + 1)] == log


@given(terms)
def test_there_are_no_more_runs_than_terms(log):
    assert [term for _, term in runs_of(log).runs()] == sorted(set(log))
    assert [log.index(term) + 1 for term in sorted(set(log))] == [start for start, _ in runs_of(log).runs()]


@given(terms)
def test_runs_are_made_again_from_what_they_show(log):
    runs = runs_of(log)
    assert TermRuns(runs.runs()).runs() == runs.runs()


@given(terms, st.integers(1, 45))
def test_truncated_runs_are_those_of_the_shorter_log(log, first):
    runs = runs_of(log)
    runs.truncate(first)
    assert runs.runs() == runs_of(log[: first - 1]).runs()


@given(terms.filter(bool), st.data())
def test_the_first_index_of_a_run_is_the_first_of_its_term(log, data):
    index = data.draw(st.integers(1, len(log)))
    assert runs_of(log).first_index_of_run(index) == log.index(log[index - 1]) + 1


@given(terms, st.integers(0, 90))
def test_the_last_index_at_or_below_a_term(log, term):
    expected = max((index for index, each in enumerate(log, 1) if each <= term), default=0)
    assert runs_of(log).last_index_at_or_below(term, len(log)) == expected


def test_a_falling_term_is_refused():
    runs = runs_of([1, 2])
    with pytest.raises(InvariantViolated, match="never fall"):
        runs.append(3, 1)


# -- majorities --------------------------------------------------------------------------------------------------


@given(st.integers(1, 99))
def test_two_majorities_share_a_member_and_no_smaller_sets_must(count):
    assert 2 * majority(count) > count
    assert 2 * (majority(count) - 1) <= count


@given(names, names)
def test_only_voters_make_a_quorum(voters, nodes):
    configuration = Configuration.of(voters, "xyz")
    enough = len(set(nodes) & set(voters)) > len(voters) / 2
    assert configuration.has_quorum([*nodes, *nodes, "x", "y", "z"]) == enough


@given(names.filter(bool), st.dictionaries(st.sampled_from("abcdefghixyz"), st.integers(0, 9)))
def test_the_quorum_index_is_the_highest_that_a_majority_has_reached(voters, reached):
    configuration = Configuration.of(voters, "xyz")

    def held(index: int) -> bool:
        return sum(reached.get(voter, 0) >= index for voter in voters) > len(voters) / 2

    assert quorum_index(reached, configuration) == max(index for index in range(10) if held(index))


def test_without_voters_nothing_is_reached_and_nobody_is_a_quorum():
    nobody = Configuration.of("")
    assert quorum_index({"a": 5}, nobody) == 0 and not nobody.has_quorum("abc")


@given(names, names)
def test_a_configuration_is_sorted_and_the_same_in_any_order(voters, learners):
    one = Configuration.of(voters, learners)
    assert one == Configuration.of(reversed(voters), reversed(learners))
    assert one.members == tuple(sorted({*voters, *learners}))


# -- the log, against a list ---------------------------------------------------------------------------------------


class CountingDisk(Disk):
    """A disk that must not be asked for what it doesn't hold."""

    def read(self, first: int, last: int, bytes_max: int) -> Sequence[Entry]:
        assert 1 <= first <= last <= len(self.entries)
        return super().read(first, last, bytes_max)


class LogAgainstAList(RuleBasedStateMachine):
    """Appends, truncations, syncs and forgetting, on a log and on a list."""

    @initialize(log=terms, cache=st.sampled_from([1, 10, 1000]))
    def start(self, log: list[int], cache: int) -> None:
        self.model = list(entries(log))
        self.disk = CountingDisk(list(self.model))
        self.log = self.disk.log(cache)
        self.applied = 0

    @rule(step=st.integers(0, 2), size=st.integers(0, 20), kind=st.sampled_from(Kind))
    def append(self, step: int, size: int, kind: Kind) -> None:
        term = max(1, (self.model[-1].term if self.model else 0) + step)
        entry = Entry(len(self.model) + 1, term, kind, b"x" * size)
        self.model.append(entry)
        self.log.append(entry)

    @precondition(lambda self: len(self.model) > self.applied)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        """As the core does: a conflict, so another entry of a later term follows at once."""
        first = data.draw(st.integers(self.applied + 1, len(self.model)))
        term = self.model[-1].term + 1
        del self.model[first - 1 :]
        self.log.truncate_from(first)
        assert self.log.last_index == first - 1
        entry = Entry(first, term, Kind.RECORDS, b"new")
        self.model.append(entry)
        self.log.append(entry)

    @rule()
    def sync(self) -> None:
        unstable = self.log.unstable()
        if unstable:
            del self.disk.entries[unstable[0].index - 1 :]
            self.disk.entries += unstable
        self.log.stable_index = self.log.last_index
        assert self.disk.entries == self.model

    @precondition(lambda self: self.log.stable_index > self.applied)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.applied = data.draw(st.integers(self.applied, self.log.stable_index))
        self.log.forget(self.applied)

    @precondition(lambda self: bool(self.model))
    @rule(data=st.data(), size=st.sampled_from([1, 10, 30, 10_000]))
    def read(self, data: st.DataObject, size: int) -> None:
        first = data.draw(st.integers(1, len(self.model)))
        last = data.draw(st.integers(first, len(self.model)))
        found = self.log.entries(first, last, size)
        assert found and list(found) == self.model[first - 1 : first - 1 + len(found)]
        assert found[-1].index <= last
        assert len(found) == 1 or sum(len(entry.payload) for entry in found) <= size

    @rule(index=st.integers(0, 60), term=st.integers(0, 30))
    def compare(self, index: int, term: int) -> None:
        held = [0, *(entry.term for entry in self.model)]
        assert self.log.matches(index, term) == (index < len(held) and held[index] == term)
        at_or_below = max(i for i, each in enumerate(held) if each <= term)
        assert self.log.last_index_at_or_below_term(term) == at_or_below
        if 0 < index < len(held):
            assert self.log.first_index_of_term_at(index) == held.index(held[index])

    @invariant()
    def the_ends_agree(self) -> None:
        assert self.log.last_index == len(self.model)
        assert self.log.last_term == (self.model[-1].term if self.model else 0)
        assert self.log.last_payload() == (self.model[-1].payload if self.model else None)
        assert list(self.log.unstable()) == self.model[self.log.stable_index :]


TestLogAgainstAList = LogAgainstAList.TestCase
TestLogAgainstAList.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_the_cache_is_freed_down_to_half_its_limit_once_entries_are_applied():
    disk = Disk()
    log = disk.log(100)
    for entry in entries([(1, b"x" * 10)] * 20):
        log.append(entry)
    disk.entries += log.unstable()
    log.stable_index = 20
    log.forget(0)
    assert len(log._cache) == 20  # nothing is applied yet
    log.forget(20)
    assert len(log._cache) == 5 and len(log.entries(1, 20, 10_000)) == 15  # up to the cache; the rest comes next


def after_a_snapshot() -> Log:
    log = Log(Disk(), snapshot_index=5, snapshot_term=2, last_index=5, cache_bytes_max=100)
    for entry in entries([2, 3], 6):
        log.append(entry)
    return log


def test_a_log_behind_a_snapshot_begins_at_its_end():
    log = after_a_snapshot()
    assert (log.first_index, log.last_index, log.last_term) == (6, 7, 3)
    assert [log.term_at(index) for index in (5, 6, 7)] == [2, 2, 3]
    assert log.matches(5, 2) and not log.matches(4, 2) and not log.matches(5, 1)
    assert log.first_index_of_term_at(6) == 6 and log.first_index_of_term_at(5) == 6
    assert log.last_index_at_or_below_term(1) == 5 and log.last_index_at_or_below_term(2) == 6


@pytest.mark.parametrize("index", [4, 8, -1])
def test_a_log_knows_no_term_beyond_its_ends(index):
    with pytest.raises(InvariantViolated, match="only entries of the log"):
        after_a_snapshot().term_at(index)


def test_a_snapshots_entries_are_never_truncated():
    with pytest.raises(InvariantViolated, match="committed and stay"):
        after_a_snapshot().truncate_from(5)


def test_an_entry_out_of_its_place_is_refused():
    with pytest.raises(InvariantViolated, match="follows the last one"):
        after_a_snapshot().append(entries([3], 9)[0])


# -- what a leader keeps of a follower -------------------------------------------------------------------------------

OPTIONS = Options(inflight_messages_max=3, inflight_bytes_max=100)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 3), st.integers(0, 90)),
        st.tuples(st.just("accept"), st.integers(0, 60), st.just(0)),
        st.tuples(st.just("probe"), st.integers(1, 60), st.just(0)),
    ),
    max_size=60,
)


@given(moves)
def test_progress_keeps_its_promises_whatever_comes(moves):
    progress, last, match = Progress(next_index=1), 0, 0
    for move, number, size in moves:
        if move == "send" and progress.may_send(OPTIONS):
            last = max(last, progress.next_index - 1 + number)
            progress.sent(progress.next_index - 1 + number, size)
        elif move == "accept" and number <= last:
            match = max(match, number)
            progress.accepted(number)
        elif move == "probe":
            progress.probe_from(min(number, last + 1))
        assert progress.match_index == match < progress.next_index
        assert len(progress.inflight) <= OPTIONS.inflight_messages_max
        assert progress.inflight_bytes == sum(size for _, size in progress.inflight) < 100 + 90
        assert all(index > match for index, _ in progress.inflight)


def test_a_probe_is_sent_once_and_again_after_an_answer():
    progress = Progress(next_index=5)
    assert progress.may_send(OPTIONS)
    progress.sent(6, 10)
    assert not progress.may_send(OPTIONS) and progress.next_index == 5
    progress.probe_from(3)
    assert progress.may_send(OPTIONS) and progress.next_index == 3
    progress.accepted(2)
    assert progress.mode is Mode.REPLICATE and progress.may_send(OPTIONS)


def test_one_append_may_be_larger_than_all_that_may_be_on_the_way():
    progress = Progress(next_index=1)
    progress.accepted(0)
    progress.sent(1, 10_000)
    assert not progress.may_send(OPTIONS)
    progress.accepted(1)
    assert progress.may_send(OPTIONS) and progress.inflight_bytes == 0


def test_going_back_to_probing_forgets_what_is_on_the_way_and_never_passes_the_match():
    progress = Progress(next_index=1)
    progress.accepted(4)
    progress.sent(9, 50)
    progress.probe_from(1)
    assert (progress.next_index, progress.inflight_bytes, len(progress.inflight)) == (5, 0, 0)
