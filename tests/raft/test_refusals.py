"""What is refused, and that nothing changed: messages that make no sense, and doors used out of turn."""

from __future__ import annotations

from random import Random

import pytest

from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import InvariantViolated
from conflux.raft.invariants import check
from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
    Heartbeat,
    HeartbeatReply,
    Message,
    Rejected,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from conflux.raft.options import Options
from conflux.raft.sanity import NUMBER_MAX, is_sane
from tests.raft.harness import (
    FOLLOWER,
    Node,
    append,
    candidate,
    entries,
    follower,
    heartbeat,
    leader,
    led,
    node,
    vote,
    vote_request,
)

HUGE = NUMBER_MAX + 1


def pre_candidate(**given: object) -> Node:
    made = node(**given)  # type: ignore[arg-type]
    made.time_out()
    return made


ROLES = [follower, pre_candidate, candidate, leader]


def portrait(a: Node) -> str:
    """All that a core knows, for comparison before and after."""
    raft, log = a.raft, a.raft.log
    parts = (raft.term, raft.vote, raft.commit_index, raft.applied_index, raft.role, raft.leader_silence)
    return repr((parts, raft.election_elapsed, raft.election_timeout, log.term_starts, log.last_index, a.disk))


# -- messages ----------------------------------------------------------------------------------------------------

HOLE = (*entries([1]), *entries([1], 3))
FALLING = entries([2, 1])
INSANE: dict[str, tuple[int, Message]] = {
    "term 0": (0, heartbeat()),
    "negative term": (-5, vote_request()),
    "huge term": (HUGE, append((0, 0), [1])),
    "vote request: negative index": (2, vote_request((-1, 1))),
    "vote request: huge index": (2, vote_request((HUGE, 1))),
    "vote request: last term above its own": (2, vote_request((1, 3))),
    "append: negative place": (2, append((-1, 0), [1])),
    "append: negative term": (2, append((1, -1), [1])),
    "append: huge place": (2, append((HUGE, 1))),
    "append: negative commit": (2, append((0, 0), commit=-1)),
    "append: huge commit": (2, append((0, 0), commit=HUGE)),
    "append: a hole": (2, Append(prev_index=0, prev_term=0, entries=HOLE, commit_index=0)),
    "append: not after its place": (2, Append(prev_index=1, prev_term=1, entries=entries([1]), commit_index=0)),
    "append: falling terms": (2, Append(prev_index=0, prev_term=0, entries=FALLING, commit_index=0)),
    "append: term below the place's": (2, append((1, 2), [1])),
    "append: entry above its own term": (2, append((0, 0), [3])),
    "append: place above its own term": (2, append((1, 3))),
    "heartbeat: negative commit": (2, heartbeat(commit=-1)),
    "heartbeat: huge round": (2, heartbeat(HUGE)),
    "accepted: negative": (2, Accepted(match_index=-1)),
    "accepted: huge": (2, Accepted(match_index=HUGE)),
    "rejected: negative": (2, Rejected(prev_index=1, conflict_term=-1, conflict_index=0)),
    "rejected: huge": (2, Rejected(prev_index=1, conflict_term=0, conflict_index=HUGE)),
    "heartbeat reply: negative": (2, HeartbeatReply(round=-1)),
}
UNCAUGHT: dict[str, tuple[int, Message]] = {
    "append: an entry of term 0": (2, append((0, 0), [0])),
    "append: a term before the first entry": (2, append((0, 1), [1])),
    "append: no term at an entry": (2, append((1, 0), [1])),
    "vote request: a term without an entry": (2, vote_request((0, 1))),
    "vote request: an entry without a term": (2, vote_request((1, 0))),
    "vote request: a pre-vote of a transfer": (2, vote_request((1, 1), pre=True, transfer=True)),
}


@pytest.mark.parametrize("make", ROLES)
@pytest.mark.parametrize("what", INSANE)
def test_a_message_that_makes_no_sense_is_dropped_and_changes_nothing(make, what):
    a = make(log=[1, 1], term=1)
    before = portrait(a)
    term, message = INSANE[what]
    assert a.hears(message, term=term) == [] and portrait(a) == before


@pytest.mark.parametrize("what", UNCAUGHT)
def test_what_no_node_can_say_is_insane(what):
    term, message = UNCAUGHT[what]
    assert not is_sane(Envelope("b", "a", term, message))


@pytest.mark.parametrize("make", ROLES)
@pytest.mark.parametrize(("sender", "receiver"), [("b", "c"), ("a", "a"), ("b", "")])
def test_a_message_for_another_or_from_itself_is_dropped(make, sender, receiver):
    a = make(log=[1, 1], term=1)
    before = portrait(a)
    for message in (heartbeat(), append((0, 0), [9]), vote_request((9, 9)), vote(True)):
        a.step(Envelope(sender, receiver, 9, message))
    assert portrait(a) == before and a.took() == []


@pytest.mark.parametrize(
    "message",
    [Accepted(match_index=1), Rejected(prev_index=1, conflict_term=0, conflict_index=1), HeartbeatReply(round=1)],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("make", ROLES)
def test_a_strangers_answer_changes_nothing(make, message):
    a = make(log=[1, 1], term=1)
    before = portrait(a)
    assert a.hears(message, of="z") == [] and portrait(a) == before


@pytest.mark.parametrize("make", ROLES)
def test_an_append_with_members_that_can_not_be_read_is_dropped_whole(make):
    a = make(log=[1, 1], term=1)
    before = portrait(a)
    sound, unreadable = *entries([1], 3), Entry(4, 1, Kind.MEMBERSHIP, b"no members")
    message = Append(prev_index=2, prev_term=1, entries=(sound, unreadable), commit_index=4)
    assert a.hears(message, term=9) == [] and portrait(a) == before


@pytest.mark.parametrize("make", [follower, pre_candidate, candidate])
def test_answers_to_a_leader_mean_nothing_to_another(make):
    a = make(log=[1, 1], term=1)
    before = portrait(a)
    for message in (Accepted(match_index=2), Rejected(prev_index=1, conflict_term=0, conflict_index=1), TimeoutNow()):
        assert a.hears(message, of="c") == []
    assert portrait(a) == before


def test_strangers_votes_elect_nobody():
    for make in (pre_candidate, candidate):
        a = make(of="abc")
        before = a.role
        for name in "xyz":
            a.hears(vote(True), of=name)
            a.hears(vote(True, pre=True), of=name, term=a.term + 1)
        assert a.role is before


# -- doors -------------------------------------------------------------------------------------------------------


def refuses(a: Node, sentence: str, door, *arguments: object) -> None:
    before = portrait(a)
    with pytest.raises(InvariantViolated, match=sentence):
        door(*arguments)
    assert portrait(a) == before


@pytest.mark.parametrize("make", ROLES)
def test_persisted_without_a_persist_is_refused(make):
    a = make()
    refuses(a, "answers a Persist", a.raft.persisted, a.term, a.raft.log.last_index)


def test_persisted_twice_is_refused():
    a = follower()
    a.raft.step(Envelope("b", "a", 1, append((0, 0), [1])))
    for effect in a.raft.take_effects():
        a.carry_out(effect)
    refuses(a, "answers a Persist", a.raft.persisted, 1, 1)


@pytest.mark.parametrize("wrong", [(1, 2), (1, 0), (2, 1), (0, 1)])
def test_persisted_for_another_persist_is_refused(wrong):
    a = follower()
    a.raft.step(Envelope("b", "a", 1, append((0, 0), [1])))
    a.raft.take_effects()
    refuses(a, "names the Persist", a.raft.persisted, *wrong)


@pytest.mark.parametrize("door", ["step", "tick", "propose", "take_effects"])
def test_between_a_persist_and_persisted_the_doors_are_shut(door):
    a = led("abc")["a"]
    a.raft.propose(b"x")
    a.raft.take_effects()
    arguments = {"step": (Envelope("b", "a", 1, heartbeat()),), "propose": (b"y",)}.get(door, ())
    refuses(a, "carried out to its end", getattr(a.raft, door), *arguments)


@pytest.mark.parametrize("make", [follower, pre_candidate, candidate])
def test_a_proposal_to_another_than_the_leader_is_refused(make):
    a = make(log=[1], term=1)
    refuses(a, "only a leader", a.raft.propose, b"x")


def test_a_proposal_to_a_full_leader_is_refused():
    a = leader(uncommitted_entries_max=1)
    refuses(a, "only a leader with room", a.raft.propose, b"x")


def test_a_proposal_during_a_transfer_is_refused():
    a = led("abc")["a"]
    a.raft.transfer_leadership("b")
    refuses(a, "only a leader with room", a.raft.propose, b"x")


@pytest.mark.parametrize("index", [0, 3, -1])
def test_applied_takes_only_committed_entries_and_never_goes_back(index):
    a = follower(log=[1, 1, 1])
    a.hears(append((2, 1), commit=2))
    assert a.raft.applied_index == 2
    refuses(a, "only committed entries are applied", a.raft.applied, index)


def test_a_commit_index_beyond_the_log_is_refused_at_the_start():
    with pytest.raises(InvariantViolated, match="never too high"):
        node(log=[1], commit=2)


@pytest.mark.parametrize("make", [follower, pre_candidate, candidate])
def test_doors_that_mean_nothing_here_change_nothing(make):
    a = make()
    before = portrait(a)
    a.raft.step_down()
    a.raft.announce_commit()
    assert not a.transfer("b") and portrait(a) == before and a.took() == []


def test_a_role_is_not_taken_out_of_turn():
    refuses(follower(), "only a candidate becomes leader", (a := follower()).raft.become_leader)
    for door in (leader().raft.become_candidate, leader().raft.become_pre_candidate):
        refuses(a, "a leader has no need", door)
    refuses(a, "the term never falls", a.raft.become_follower, 0, None)
    for door in ((x := node("x", of="abc", learners="x")).raft.become_candidate, x.raft.become_pre_candidate):
        refuses(x, "only voters", door)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"heartbeat_ticks": 0}, "heartbeat_ticks must be at least 1"),
        ({"append_bytes_max": -1}, "append_bytes_max must be at least 1"),
        ({"election_ticks_min": 50, "election_ticks_max": 49}, "must not be below election_ticks_min"),
        ({"heartbeat_ticks": 60}, "must be below election_ticks_min"),
    ],
)
def test_options_that_cannot_work_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Options(**wrong)


# -- absurdities, which tests/fuzz throws by the thousand ----------------------------------------------------------


class Babel:
    """Draws well-typed messages without sense: near misses more often than far ones."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def number(self) -> int:
        kind = self.random.random()
        if kind < 0.85:
            return self.random.randint(0, 8)
        return self.random.choice([-1, 63, 1000, 2**31, NUMBER_MAX, HUGE, 2**63, 2**64])

    def yes(self) -> bool:
        return self.random.random() < 0.5

    def append(self) -> Append:
        first, term = self.number(), self.number()
        terms = [term := term + self.random.choice([0, 0, 0, 1, -1]) for _ in range(self.random.randint(0, 4))]
        made = tuple(Entry(first + n, t, Kind(self.random.randint(0, 2)), b"") for n, t in enumerate(terms, 1))
        return Append(prev_index=first, prev_term=self.number(), entries=made, commit_index=self.number())

    def message(self) -> Message:
        number, yes = self.number, self.yes
        match self.random.randint(0, 8):
            case 0:
                return VoteRequest(pre=yes(), transfer=yes(), last_index=number(), last_term=number())
            case 1:
                return VoteReply(pre=yes(), granted=yes())
            case 2:
                return Accepted(match_index=number())
            case 3:
                return Rejected(prev_index=number(), conflict_term=number(), conflict_index=number())
            case 4:
                return Heartbeat(commit_index=number(), round=number())
            case 5:
                return HeartbeatReply(round=number())
            case 6:
                return TimeoutNow()
            case _:
                return self.append()

    def envelope(self, term: int) -> Envelope:
        own = term if self.random.random() < 0.8 else term + self.random.choice([-2, -1, 1, 2])
        if self.random.random() < 0.02:
            own = self.number()
        return Envelope(self.random.choice("bcxz"), "a", own, self.message())


def bombard(make, seed: int, messages: int, *, stop_at: str) -> int:
    """Throw messages at a core in this role; how often it stopped because a committed entry was contradicted."""
    babel, stops = Babel(seed), 0
    a = make(of="abc", learners="x", log=[1, 2, 2, 4], term=4, commit=2, seed=seed)
    for _ in range(messages):
        if a.term > 12 or a.raft.log.last_index > 20 or babel.random.random() < 0.02:
            a = make(of="abc", learners="x", log=[1, 2, 2, 4], term=4, commit=2, seed=seed)
        envelope = babel.envelope(a.term)
        before = portrait(a) if not is_sane(envelope) else None
        try:
            a.step(envelope)
        except InvariantViolated as violation:
            assert str(violation) == stop_at, f"{violation} after {envelope}"
            assert isinstance(envelope.message, Append), "only a leader's entries can contradict what is committed"
            stops += 1
            a = make(of="abc", learners="x", log=[1, 2, 2, 4], term=4, commit=2, seed=seed)
        assert before in (None, portrait(a)), f"changed by {envelope}"
        check(a.raft)
    return stops


def test_a_follower_is_still_a_follower_after_answers_to_questions_it_never_asked():
    a = follower(log=[1, 1])
    for message in (vote(True), vote(True, pre=True), Accepted(match_index=2), HeartbeatReply(round=3)):
        assert a.hears(message) == []
    assert a.role is FOLLOWER
