"""The judge of a run's end: a true history passes, and each lie that is planted in it is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from types import SimpleNamespace

import pytest
from msgspec import structs

from conflux.client.committed import Committed
from conflux.errors import Closed, MethodRejected, NoLeader, OutcomeUnknown, SessionExpired, UnknownMethod
from conflux.raft.entry import Entry
from conflux.store.records import Calls, encode_payload, header_of, records_of
from conflux.testing import Simulation, Violation, Weather
from conflux.testing.history import Call, History, Read
from conflux.testing.judge import Judge, check_calls, check_order, check_watch
from conflux.testing.weather import ClientKnobs


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    clients = ClientKnobs(clients=2, embedded=1, deadline=0.0, appended=0.0, reads=0.2, watchers=1.0)
    with Simulation(seed=2, weather=Weather(nodes=3, clients=clients)) as run:
        run.run(1500)
    return run


@pytest.fixture
def history(simulation: Simulation) -> Iterator[History]:
    """The true history, in a copy that may be bent."""
    true = simulation.cluster.history
    bent = History(lambda: 0.0, lambda call: None)
    bent.calls = [replace(call) for call in true.calls]
    bent.sent = {key: bent.calls[call.number] for key, call in true.sent.items()}
    bent.reads = [replace(read) for read in true.reads]
    bent.watches = [replace(watched, events=[*watched.events]) for watched in true.watches]
    yield bent


def judge_of(simulation: Simulation, history: History, log: list[Entry] | None = None) -> Judge:
    judge = Judge(simulation._app, history)
    judge.run_again(simulation.commits.log if log is None else log)
    return judge


def check_all(judge: Judge, history: History) -> None:
    check_calls(judge, history.calls, refusals_are_proof=True)
    check_order(judge, history)
    for watched in history.watches:
        check_watch(judge, watched)


def some(calls: list[Call], kind: type, place: int = 20) -> Call:
    return [call for call in calls if type(call.result) is kind][place]


def acts(calls: list[Call], place: int = 20) -> Call:
    return [call for call in calls if isinstance(call.result, Committed) and call.result.revision][place]


def with_calls(entry: Entry, change) -> Entry:
    records = [change(record) if isinstance(record, Calls) else record for record in records_of(entry.payload)]
    return replace(entry, payload=encode_payload(header_of(entry.payload), records))


def test_a_true_history_passes_with_every_kind_of_outcome(simulation, history):
    check_all(judge_of(simulation, history), history)
    kinds = {type(call.result).__name__ for call in history.calls}
    assert kinds >= {"Committed", "MethodRejected", "ReducerFailed", "UnknownMethod"}
    assert any(call.result.revision is None for call in history.calls if isinstance(call.result, Committed))
    assert len(history.reads) > 20
    assert all(watched.events for watched in history.watches)


@pytest.mark.parametrize(
    "result", [NoLeader("no"), Closed("no"), UnknownMethod("no")], ids=lambda result: type(result).__name__
)
def test_a_refusal_of_what_is_applied_is_seen(simulation, history, result):
    acts(history.calls).result = result
    judge = judge_of(simulation, history)
    with pytest.raises(Violation, match="told that it is not applied"):
        check_calls(judge, history.calls, refusals_are_proof=True)
    check_calls(judge, history.calls, refusals_are_proof=False)


@pytest.mark.parametrize("result", [OutcomeUnknown(), SessionExpired(), None])
def test_an_open_outcome_may_be_either(simulation, history, result):
    call = acts(history.calls)
    call.result, call.returned_s = result, inf
    check_all(judge_of(simulation, history), history)


def test_a_lost_answer_is_seen(simulation, history):
    told = acts(history.calls)
    history.calls.append(replace(told, number=len(history.calls)))
    with pytest.raises(Violation, match="acknowledged is never lost"):
        check_calls(judge_of(simulation, history), history.calls, refusals_are_proof=True)


def test_a_lost_rejection_is_seen(simulation, history):
    told = some(history.calls, MethodRejected)
    history.calls.append(replace(told, number=len(history.calls)))
    with pytest.raises(Violation, match="a rejection is never lost"):
        check_calls(judge_of(simulation, history), history.calls, refusals_are_proof=True)


@pytest.mark.parametrize("change", [{"revision": 1}, {"index": 1}, {"term": 9}, {"action": {}}, {"time_us": 0}])
def test_a_wrong_answer_is_seen(simulation, history, change):
    call = acts(history.calls)
    call.result = structs.replace(call.result, **change)
    with pytest.raises(Violation, match="told"):
        check_calls(judge_of(simulation, history), history.calls, refusals_are_proof=True)


def test_a_rejection_told_wrongly_is_seen(simulation, history):
    some(history.calls, MethodRejected).result = MethodRejected("ValueError: another reason")
    with pytest.raises(Violation, match="told MethodRejected"):
        check_calls(judge_of(simulation, history), history.calls, refusals_are_proof=True)
    acts(history.calls).result = MethodRejected("ValueError: no")
    with pytest.raises(Violation, match="told"):
        check_calls(judge_of(simulation, history), history.calls, refusals_are_proof=True)


def test_a_rejection_judged_in_another_state_is_seen(simulation, history):
    def reject(record: Calls) -> Calls:
        outcomes = [
            replace_message(outcome) if getattr(outcome, "type", "") == "ValueError" else outcome
            for outcome in record.outcomes
        ]
        return Calls(record.session, record.first_unanswered, record.first_sequence, record.methods, outcomes)

    log = [with_calls(entry, reject) for entry in simulation.commits.log]
    with pytest.raises(Violation, match="but in that state it is"):
        judge_of(simulation, history, log)


def replace_message(outcome):
    return type(outcome)(outcome.type, "the list has 0 elements", outcome.by_reducer)


def test_a_call_applied_twice_is_seen(simulation, history):
    (first, one), (_, other) = [pair for pair in history.sent.items() if pair[1].method == "append"][3:5]
    assert one is not other
    history.sent[first] = other
    with pytest.raises(Violation, match=r"applied exactly once|but in that state"):
        judge_of(simulation, history)


def test_a_sequence_that_is_missing_or_repeated_is_seen(simulation, history):
    def later(record: Calls) -> Calls:
        first = record.first_sequence + 1
        return Calls(record.session, record.first_unanswered, first, record.methods, record.outcomes)

    log = [*simulation.commits.log]
    place = next(
        place for place, entry in enumerate(log) if any(isinstance(r, Calls) for r in records_of(entry.payload))
    )
    log[place] = with_calls(log[place], later)
    with pytest.raises(Violation, match="without a gap"):
        judge_of(simulation, history, log)


def test_calls_out_of_a_clients_order_are_seen(simulation, history):
    calls = [call for call in history.calls if call.client == acts(history.calls).client]
    one, other = [call for call in calls if isinstance(call.result, Committed)][5:7]
    place, later = history.calls.index(one), history.calls.index(other)
    history.calls[place], history.calls[later] = other, one
    with pytest.raises(Violation, match="in their order"):
        check_calls(judge_of(simulation, history), history.calls, refusals_are_proof=True)


def test_a_call_that_was_over_before_an_earlier_one_began_is_seen(simulation, history):
    acts(history.calls, 40).returned_s = 0.0
    with pytest.raises(Violation, match="over before"):
        check_order(judge_of(simulation, history), history)


def test_a_stale_read_is_seen(simulation, history):
    judge = judge_of(simulation, history)
    late = max(read.invoked_s for read in history.reads)
    local = Read("c9", False, "n1", late, late + 1, judge.revisions[9], 9, judge.states[9])
    history.reads.append(local)
    check_order(judge, history)
    history.reads.append(replace(local, linearizable=True))
    with pytest.raises(Violation, match="over before"):
        check_order(judge, history)


@pytest.mark.parametrize("change", [{"state": []}, {"revision": 7777}, {"index": 10**6}])
def test_a_read_of_a_state_that_never_was_is_seen(simulation, history, change):
    place = next(place for place, read in enumerate(history.reads) if read.revision > 0)
    history.reads[place] = replace(history.reads[place], **change)
    with pytest.raises(Violation, match="a read"):
        check_order(judge_of(simulation, history), history)


def test_a_read_through_the_node_itself_must_show_a_state_that_was(simulation, history):
    history.reads = [Read("e1", True, "n1", 0.0, inf, -1, -1, ["nothing"])]
    with pytest.raises(Violation, match="a state that was"):
        check_order(judge_of(simulation, history), history)


def test_a_gap_a_repeat_and_a_lie_in_a_watch_are_seen(simulation, history):
    judge = judge_of(simulation, history)
    watched = history.watches[0]
    for events in (watched.events[:3] + watched.events[4:], [watched.events[0], *watched.events]):
        with pytest.raises(Violation, match="no gap"):
            check_watch(judge, replace(watched, events=events))
    with pytest.raises(Violation, match="was told"):
        check_watch(judge, replace(watched, events=[structs.replace(watched.events[0], action={})]))
    last = structs.replace(watched.events[-1], revision=len(judge.events) + 1)
    with pytest.raises(Violation, match="never committed"):
        check_watch(judge, replace(watched, events=[last], first_revision=last.revision))


def test_a_caller_that_is_told_twice_is_seen():
    history = History(lambda: 0.0, lambda call: None)
    call = history.begin("c", "append", [1])
    history.end(call, OutcomeUnknown())
    with pytest.raises(Violation, match="told once"):
        history.end(call, OutcomeUnknown())


def test_a_number_that_changes_its_call_is_seen():
    history = History(lambda: 0.0, lambda call: None)
    one, other = history.begin("c", "append", [1]), history.begin("c", "append", [1])
    history.was_sent(SimpleNamespace(session=1, first_sequence=0, calls=[("append", one.arguments), ("", b"")]))
    with pytest.raises(Violation, match="stays with its call"):
        history.was_sent(SimpleNamespace(session=1, first_sequence=0, calls=[("append", other.arguments)]))
