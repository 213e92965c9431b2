"""The checker finds each kind of violation where one is planted, and none in a legal history."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from conflux.wire import values
from conflux.wire.clients import Rejection
from tests.faults import journal
from tests.faults.checker import Verdict, judge
from tests.faults.committed import CommittedLog
from tests.faults.history import LINEARIZABLE, LOCAL, Operation, Outcome


class Story:
    """A history and a log, made together: one client after the other unless told otherwise."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.log = CommittedLog()
        self.time_s = 0.0

    def call(self, what: str, value: str, *, client: str = "a") -> Operation:
        """A call that is committed and answered at once, as the app says."""
        state = {"length": len(self.log.values), "chain": self.log.chains[-1]}
        operation = self.operate(what, value, client)
        try:
            action = journal.app.methods[what](state, value)
            operation.outcome = Outcome.NOTHING if action is None else Outcome.APPENDED
            self.log.add(ord(client[0]), len(self.operations), what, action and values.encode(action))
        except ValueError as error:
            operation.outcome, operation.text = Outcome.REJECTED, str(error)
            self.log.add(ord(client[0]), len(self.operations), what, Rejection("ValueError", str(error), False))
        return operation

    def read(self, what: str = LINEARIZABLE, *, length: int | None = None, client: str = "r") -> Operation:
        operation = self.operate(what, "", client)
        operation.outcome = Outcome.READ
        operation.length = len(self.log.values) if length is None else length
        operation.chain = self.log.chains[operation.length]
        return operation

    def operate(self, what: str, value: str, client: str) -> Operation:
        operation = Operation(client, len(self.operations), what, value, self.time_s, self.time_s + 1)
        self.time_s += 2
        self.operations.append(operation)
        return operation

    def violations(self) -> list[str]:
        return judge(self.operations, self.log).violations


@pytest.fixture
def story() -> Story:
    """Five values, a rejection, a nothing, and reads."""
    story = Story()
    for number in range(5):
        story.call("append", f"v{number}")
        story.read()
    assert story.call("append_to_even", "odd").outcome is Outcome.REJECTED
    story.call("append", "v5")
    assert story.call("append_but_at_thirds", "third").outcome is Outcome.NOTHING
    story.read(LOCAL, length=2)
    return story


def assert_one_kind(story: Story, words: str) -> None:
    found = story.violations()
    assert found and all(words in line for line in found), found


def test_a_legal_history_is_legal(story: Story) -> None:
    assert story.violations() == []


def test_an_acknowledged_value_that_is_lost(story: Story) -> None:
    story.operate("append", "lost", "b").outcome = Outcome.APPENDED
    assert_one_kind(story, "acknowledged and lost")


def test_a_value_that_is_applied_twice(story: Story) -> None:
    story.log.add(97, 99, "append", values.encode({"type": "append", "value": "v3"}))
    assert any("applied twice: v3" in line for line in story.violations())


def test_a_value_that_nobody_asked_for(story: Story) -> None:
    story.log.add(97, 99, "append", values.encode({"type": "append", "value": "ghost"}))
    assert_one_kind(story, "never asked for: ghost")


def test_what_was_not_applied_is_in_the_log(story: Story) -> None:
    story.call("append", "late").outcome = Outcome.NOT_APPLIED
    assert_one_kind(story, "not applied, but in the log")


def test_what_came_to_nothing_is_in_the_log(story: Story) -> None:
    story.call("append", "late").outcome = Outcome.NOTHING
    assert any("nothing, but in the log" in line for line in story.violations())


def test_an_unknown_outcome_may_be_in_the_log_or_not(story: Story) -> None:
    for operation in (story.call("append", "there"), story.operate("append", "not there", "b")):
        operation.outcome, operation.returned_s = Outcome.UNKNOWN, inf
    assert story.violations() == []


def test_a_stale_linearizable_read(story: Story) -> None:
    story.read(length=5)
    assert_one_kind(story, "stale")


def test_a_read_that_went_on_while_the_list_grew_may_show_either(story: Story) -> None:
    read = story.read(length=5)
    read.invoked_s = story.operations[0].invoked_s
    assert story.violations() == []


def test_a_read_of_another_list(story: Story) -> None:
    story.read().chain = "another"
    assert_one_kind(story, "never was")


def test_a_read_that_is_longer_than_the_list(story: Story) -> None:
    story.read().length = 7
    assert_one_kind(story, "never was")


def test_a_local_read_may_be_old_but_not_of_the_future(story: Story) -> None:
    story.read(LOCAL, length=0)
    assert story.violations() == []
    early = story.read(LOCAL)
    early.invoked_s, early.returned_s = 0.0, 0.5
    assert_one_kind(story, "asked for later")


def test_calls_against_the_order_of_real_time(story: Story) -> None:
    first, second = story.call("append", "x", client="x"), story.call("append", "y", client="y")
    first.invoked_s, first.returned_s, second.invoked_s, second.returned_s = 102, 103, 100, 101
    assert_one_kind(story, "stale")


def test_one_clients_calls_out_of_order(story: Story) -> None:
    first, second = story.call("append", "x"), story.call("append", "y")
    first.number, second.number = second.number, first.number
    first.returned_s = second.returned_s = inf
    assert_one_kind(story, "asked for later")


def test_a_rejection_that_the_log_does_not_have(story: Story) -> None:
    operation = story.operate("append_to_even", "other", "b")
    operation.outcome, operation.text = Outcome.REJECTED, "other 5"
    assert_one_kind(story, "rejected with None")


def test_a_rejection_judged_on_a_state_that_was_not_there(story: Story) -> None:
    story.log.add(97, 99, "append_to_even", Rejection("ValueError", "w 7", False))
    operation = story.operate("append_to_even", "w", "a")
    operation.outcome, operation.text = Outcome.REJECTED, "w 7"
    assert_one_kind(story, "does not say so")


def test_a_rejection_at_a_length_that_was_long_gone(story: Story) -> None:
    rejection = next(each for each in story.operations if each.outcome is Outcome.REJECTED)
    rejection.invoked_s, rejection.returned_s = 100, 101
    assert_one_kind(story, "stale")


def test_an_append_that_the_method_would_have_rejected(story: Story) -> None:
    story.call("append", "v6")
    story.log.add(97, 99, "append_to_even", values.encode({"type": "append", "value": "w"}))
    story.operate("append_to_even", "w", "a").outcome = Outcome.APPENDED
    assert_one_kind(story, "does not say so")


def test_a_nothing_that_the_log_does_not_have(story: Story) -> None:
    story.operate("append_but_at_thirds", "w", "b").outcome = Outcome.NOTHING
    assert_one_kind(story, "not in the log")


def test_a_nothing_that_nobody_was_told_of(story: Story) -> None:
    story.log.add(97, 99, "append_but_at_thirds", None)
    assert_one_kind(story, "too many")


def test_a_nothing_at_no_third(story: Story) -> None:
    nothing = next(each for each in story.operations if each.outcome is Outcome.NOTHING)
    before = story.call("append", "v6")
    story.call("append", "v7")
    nothing.invoked_s, nothing.returned_s = before.returned_s + 0.1, before.returned_s + 0.5
    assert_one_kind(story, "no length that three divides")


def test_an_error_that_no_client_should_see(story: Story) -> None:
    story.operate("append", "w", "b").outcome = Outcome.BROKEN
    assert_one_kind(story, "broken")


def brute_force(operations: list[Operation], log: CommittedLog) -> bool:
    """Linearizable by the definition: no pair whose slots contradict real time."""
    places = {value: 2 * place + 1 for place, value in enumerate(log.values)}
    slots = [(places.get(each.value, 2 * each.length), each) for each in operations]
    return not any(low < high and after.returned_s < before.invoked_s for low, before in slots for high, after in slots)


@pytest.mark.parametrize("seed", range(200))
def test_random_times_are_judged_as_the_definition_says(seed: int) -> None:
    random = Random(seed)
    story = Story()
    for number in range(4):
        story.call("append", f"v{number}", client="abcd"[number])
        story.read(client="efgh"[number])
    for each in story.operations:
        each.invoked_s += random.choice([0, 0, 0, random.uniform(-6, 6)])
        each.returned_s = each.invoked_s + random.uniform(0.1, 4)
    found = [line for line in story.violations() if "asked for later" not in line]
    assert (not found) == brute_force(story.operations, story.log)


def test_what_is_lost_what_is_applied_twice_and_what_else_is_wrong_is_counted_apart() -> None:
    violations = [
        "acknowledged and lost: a",
        "rejected with None in the log: b",
        "short of nothings: 2 that clients were told of are not in the log",
        "applied twice: c",
        "session 7, sequence 3 was applied twice",
        "stale: d began after e had returned, and shows an earlier state",
    ]
    judged = Verdict(violations=violations).judgement()
    assert judged == {"lost": 3, "twice": 2, "illegal": 1, "undecided": 0}
