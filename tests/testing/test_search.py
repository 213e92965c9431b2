"""The search for an order: right on small histories, and on those of a register under weather."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random

import pytest

from conflux.testing import Simulation, Violation, Weather
from conflux.testing.registers import register_model
from conflux.testing.search import Operation, Verdict, is_proof, search

PUT, CAS, READ = "put", "compare_and_set", "read"


def verdict(*operations: tuple) -> Verdict:
    return search([Operation(*each) for each in operations], register_model, 0)


@pytest.mark.parametrize(
    "operations",
    [
        [((PUT, 1), True, 0, 1), ((READ,), 1, 2, 3)],
        [((PUT, 1), True, 0, 3), ((READ,), 0, 1, 2)],
        [((PUT, 1), None, 0), ((READ,), 0, 1, 2), ((READ,), 1, 3, 4)],
        [((CAS, 0, 1), True, 0, 3), ((CAS, 0, 2), (1,), 1, 4)],
    ],
)
def test_what_some_order_explains_is_linearizable(operations):
    assert verdict(*operations) is Verdict.LINEARIZABLE


@pytest.mark.parametrize(
    "operations",
    [
        [((PUT, 1), True, 0, 1), ((READ,), 0, 2, 3)],
        [((READ,), 1, 0, 1), ((PUT, 1), True, 2, 3)],
        [((CAS, 0, 1), True, 0, 3), ((CAS, 0, 2), True, 1, 4)],
        [((CAS, 0, 1), (0,), 0, 1)],
        [((PUT, 1), None, 0), ((READ,), 1, 1, 2), ((READ,), 0, 3, 4)],
    ],
)
def test_what_no_order_explains_is_illegal(operations):
    assert verdict(*operations) is Verdict.ILLEGAL


def test_a_search_that_takes_too_long_says_so():
    writes = [Operation((PUT, number % 3), True, 0, 100) for number in range(12)]
    impossible = Operation((READ,), 7, 0, 100)
    assert search([*writes, impossible], register_model, 0, looks_max=50) is Verdict.TOO_LONG


def random_history(random: Random) -> list[Operation]:
    operations = []
    for _ in range(random.randint(1, 5)):
        begin = random.random()
        end = begin + random.random() * 0.6 if random.random() < 0.8 else float("inf")
        expected, value = random.randrange(2), random.randrange(2)
        told = None if end == float("inf") else random.choice([True, (0,), (1,)])
        kinds = [((PUT, value), told and True), ((CAS, expected, value), told)]
        kinds += [((READ,), value)] if told is not None else []
        operations.append(Operation(*random.choice(kinds), begin, end))
    return operations


def by_hand(operations: list[Operation]) -> bool:
    """All orders of all choices of those whose outcome nobody knows."""
    known = [each for each in operations if each.returned_s < float("inf")]
    unknown = [each for each in operations if each not in known]
    for choice in range(1 << len(unknown)):
        chosen = known + [each for place, each in enumerate(unknown) if choice >> place & 1]
        if any(explains(order) for order in permutations(chosen)):
            return True
    return False


def explains(order: tuple[Operation, ...]) -> bool:
    state: int = 0
    for place, each in enumerate(order):
        after = register_model(state, each.what, each.told)
        if after is None or any(later.returned_s < each.invoked_s for later in order[place:]):
            return False
        state = after[0]
    return True


def test_the_search_agrees_with_trying_everything():
    random = Random(7)
    verdicts = set()
    for _ in range(400):
        history = random_history(random)
        found = search(history, register_model, 0)
        assert (found is Verdict.LINEARIZABLE) == by_hand(history), history
        verdicts.add(found)
    assert verdicts == {Verdict.LINEARIZABLE, Verdict.ILLEGAL}


def test_what_proves_a_history_is_an_order_that_the_search_would_find_too():
    random = Random(11)
    proven = 0
    for _ in range(400):
        history = random_history(random)
        orders = [is_proof(order, register_model, 0) for order in permutations(history)]
        assert any(orders) == (search(history, register_model, 0) is Verdict.LINEARIZABLE), history
        proven += any(orders)
    assert 0 < proven < 400


@pytest.mark.parametrize(
    "order",
    [
        [((READ,), 1, 2, 3), ((PUT, 1), True, 0, 1)],
        [((PUT, 1), True, 2, 3), ((READ,), 1, 0, 1)],
        [((CAS, 0, 1), (0,), 0, 1)],
    ],
)
def test_an_order_that_the_object_or_the_clock_contradicts_proves_nothing(order):
    assert not is_proof([Operation(*each) for each in order], register_model, 0)


def test_registers_under_weather_are_linearizable():
    for seed in (1, 2):
        weather = replace(Weather.draw(Random(seed), 3), registers=True)
        with Simulation(seed=seed, weather=weather) as simulation:
            simulation.run(1000)
        assert simulation.counts["histories of registers: linearizable"] > 0


def test_the_logs_order_explains_what_was_told_so_that_nothing_has_to_be_searched_for(monkeypatch):
    from conflux.testing import registers

    def search(*_arguments):
        raise AssertionError("the order of the log should have been proof enough")

    monkeypatch.setattr(registers, "search", search)
    for seed in (0, 2):  # with reads through the nodes themselves, behind calls that were rejected
        weather = replace(Weather.draw(Random(seed), 3), registers=True)
        with Simulation(seed=seed, weather=weather) as simulation:
            simulation.run(1500)
        assert simulation.counts["histories of registers: linearizable"] > 0


def test_a_compare_and_set_that_two_clients_won_is_found(monkeypatch):
    from conflux.testing import registers

    whole = registers._operation_of

    def forged(call, *, refusals_are_proof):
        operation = whole(call, refusals_are_proof=refusals_are_proof)
        lost = operation is not None and isinstance(operation.told, tuple)
        return replace(operation, told=True) if lost else operation

    monkeypatch.setattr(registers, "_operation_of", forged)
    weather = replace(Weather.draw(Random(8), 3), registers=True)
    with pytest.raises(Violation, match="linearizable"), Simulation(seed=8, weather=weather) as simulation:
        simulation.run(1000)
