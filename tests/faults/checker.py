"""Judges a history against the committed log: legal, or the violations by name. There is no third verdict.

The list only grows and its values are unique, so the log is the order of all that happened. Each operation that took
effect gets a slot: the append of value i (from 0) is 2i+1, a read or a rejection that saw n values is 2n. The history
is linearizable exactly if nobody with a higher slot had returned before somebody with a lower one began.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from tests.faults.committed import CommittedLog
from tests.faults.history import LINEARIZABLE, LOCAL, Operation, Outcome

SHOWN_MAX = 10
LOST, TWICE = (
    ("acknowledged and lost", "rejected with None", "short of nothings"),
    ("applied twice", "was applied twice"),
)


@dataclass(slots=True)
class Verdict:
    """What was counted, and what must not be."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def judgement(self) -> dict[str, int]:
        """How many answers were lost, how many calls were applied twice, and what else is not legal.

        The checks are exact: no history is left undecided.
        """
        lost = sum(any(words in line for words in LOST) for line in self.violations)
        twice = sum(any(words in line for words in TWICE) for line in self.violations)
        return {"lost": lost, "twice": twice, "illegal": len(self.violations) - lost - twice, "undecided": 0}

    def check(self) -> None:
        """Raise an AssertionError that names the first violations."""
        text = "\n".join(self.violations[:SHOWN_MAX])
        assert not self.violations, f"{len(self.violations)} violations, such as:\n{text}"


def judge(operations: Iterable[Operation], log: CommittedLog) -> Verdict:
    """Hold what clients were told against the log that all nodes share in the end."""
    operations = [*operations]
    calls = [each for each in operations if each.what not in (LINEARIZABLE, LOCAL)]
    reads = [each for each in operations if each.outcome is Outcome.READ]
    rejected = {call.value: call.length for call in log.calls if call.outcome is Outcome.REJECTED}
    places = {value: place for place, value in enumerate(log.values)}
    verdict = Verdict(_count(operations, calls, places, rejected), [*log.violations])
    verdict.violations += [
        *_answers_that_no_client_should_see(operations),
        *_values_out_of_nowhere(calls, log),
        *_answers_that_do_not_stand(calls, log, places, rejected),
        *_reads_of_what_never_was(reads, log),
        *_local_reads_of_the_future(operations, reads, log, places),
        *_out_of_order(calls, places),
        *_nothings(calls, log),
        *_not_linearizable(_slots(calls, reads, places, rejected)),
        *_nothings_at_no_third(calls, _slots(calls, reads, places, rejected)),
    ]
    return verdict


def _count(
    operations: list[Operation], calls: list[Operation], places: dict[str, int], rejected: dict[str, int]
) -> Counter[str]:
    counts = Counter({"operations": len(operations)})
    counts.update(str(each.outcome) for each in operations)
    acknowledged = (Outcome.APPENDED, Outcome.NOTHING, Outcome.REJECTED)
    counts["acknowledged"] = sum(each.outcome in acknowledged for each in calls)
    unknown = [each for each in calls if each.outcome is Outcome.UNKNOWN]
    counts["unknown that were applied"] = sum(each.value in places or each.value in rejected for each in unknown)
    return counts


def _answers_that_no_client_should_see(operations: list[Operation]) -> list[str]:
    return [f"broken: {each}" for each in operations if each.outcome is Outcome.BROKEN]


def _values_out_of_nowhere(calls: list[Operation], log: CommittedLog) -> list[str]:
    asked = {each.value for each in calls}
    settled = [call.value for call in log.calls if call.outcome is not Outcome.NOTHING]
    found = [f"applied twice: {value}" for value, count in Counter(settled).items() if count > 1]
    return found + [f"never asked for: {value}" for value in settled if value not in asked]


def _answers_that_do_not_stand(
    calls: list[Operation], log: CommittedLog, places: dict[str, int], rejected: dict[str, int]
) -> list[str]:
    words = {call.value: call.text for call in log.calls if call.outcome is Outcome.REJECTED}
    found = []
    for each in calls:
        is_there = each.value in places or each.value in rejected
        if each.outcome is Outcome.APPENDED and each.value not in places:
            found.append(f"acknowledged and lost: {each}")
        elif each.outcome is Outcome.REJECTED and words.get(each.value) != each.text:
            found.append(f"rejected with {words.get(each.value)!r} in the log: {each}")
        elif each.outcome in (Outcome.NOT_APPLIED, Outcome.NOTHING) and is_there:
            found.append(f"{each.outcome}, but in the log: {each}")
    return found


def _reads_of_what_never_was(reads: list[Operation], log: CommittedLog) -> list[str]:
    return [
        f"read what never was: {each}"
        for each in reads
        if each.length >= len(log.chains) or log.chains[each.length] != each.chain
    ]


def _local_reads_of_the_future(
    operations: list[Operation], reads: list[Operation], log: CommittedLog, places: dict[str, int]
) -> list[str]:
    """A local read may be old, but nothing that it shows was asked for only after it."""
    invoked = {places[each.value]: each.invoked_s for each in operations if each.value in places}
    latest = [*accumulate((invoked.get(place, -inf) for place in range(len(log.values))), max, initial=-inf)]
    return [
        f"read what was asked for later: {each}"
        for each in reads
        if each.length < len(latest) and latest[each.length] > each.returned_s
    ]


def _out_of_order(calls: list[Operation], places: dict[str, int]) -> list[str]:
    """One client's values stand in the order in which it asked, those of unknown outcome too."""
    last: dict[str, Operation] = {}
    found = []
    for each in sorted(calls, key=lambda call: (call.client, call.number)):
        if each.value in places:
            before = last.get(each.client)
            if before is not None and places[before.value] > places[each.value]:
                found.append(f"{before.value} stands behind {each.value}, which its client asked for later")
            last[each.client] = each
    return found


def _nothings(calls: list[Operation], log: CommittedLog) -> list[str]:
    """Of each client's calls that came to nothing, as many are in the log as it was told of; unknown ones may be."""
    clients_of: dict[int, str] = {}
    asked = {each.value: each.client for each in calls}
    for call in log.calls:
        if call.value in asked:
            clients_of[call.session] = asked[call.value]
    there: Counter[str] = Counter()
    for call in log.calls:
        if call.outcome is Outcome.NOTHING and call.method:
            there[clients_of.get(call.session, "")] += 1
    settled = {call.value for call in log.calls if call.outcome is not Outcome.NOTHING}
    told = Counter(each.client for each in calls if each.outcome is Outcome.NOTHING)
    maybe = Counter(
        each.client
        for each in calls
        if each.outcome is Outcome.UNKNOWN and each.what == "append_but_at_thirds" and each.value not in settled
    )
    nobodys = there.pop("", 0)  # of sessions that did nothing else
    clients = {*there, *told}
    missing = {client: told[client] - there[client] for client in clients}
    found = [f"{-count} nothings of {c} too many" for c, count in missing.items() if -count > maybe[c]]
    short = sum(max(0, count) for count in missing.values())
    if short > nobodys:
        found.append(f"short of nothings: {short - nobodys} that clients were told of are not in the log")
    return found


def _slots(
    calls: list[Operation], reads: list[Operation], places: dict[str, int], rejected: dict[str, int]
) -> list[tuple[int, Operation]]:
    slots = [(2 * places[each.value] + 1, each) for each in calls if each.value in places]
    slots += [(2 * rejected[each.value], each) for each in calls if each.value in rejected]
    slots += [(2 * each.length, each) for each in reads if each.what == LINEARIZABLE]
    return sorted(slots, key=lambda pair: pair[0])


def _not_linearizable(slots: list[tuple[int, Operation]]) -> list[str]:
    groups: dict[int, list[Operation]] = defaultdict(list)
    for slot, each in slots:
        groups[slot].append(each)
    latest: Operation | None = None
    found = []
    # From the highest slot down: whoever returned first among the higher ones must not have done so before this began.
    for slot in sorted(groups, reverse=True):
        for each in groups[slot]:
            if latest is not None and latest.returned_s < each.invoked_s:
                found.append(f"stale: {each} began after {latest} had returned, and shows an earlier state")
        earliest = min(groups[slot], key=lambda operation: operation.returned_s)
        if latest is None or earliest.returned_s < latest.returned_s:
            latest = earliest
    return found


def _nothings_at_no_third(calls: list[Operation], slots: list[tuple[int, Operation]]) -> list[str]:
    """A call came to nothing at a length that three divides: between what had returned and what had not begun."""
    returned = sorted((each.returned_s, slot) for slot, each in slots if each.returned_s < inf)
    highest = [*accumulate((slot for _, slot in returned), max, initial=0)]
    invoked = sorted((each.invoked_s, slot) for slot, each in slots)
    lowest = [*accumulate((slot for _, slot in reversed(invoked)), min, initial=inf)][::-1]
    found = []
    for each in calls:
        if each.outcome is Outcome.NOTHING:
            low = highest[bisect_left(returned, (each.invoked_s, -1))]
            high = lowest[bisect_right(invoked, (each.returned_s, inf))]
            length = (low + 1) // 2
            if low <= high < 2 * (length + -length % 3):  # the other way round the history isn't linearizable anyway
                found.append(f"nothing, but at no length that three divides ({low} to {high}): {each}")
    return found
