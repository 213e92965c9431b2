"""`Guard`: holds this node's state against the others', and takes a node whose state is wrong out of service.

All nodes hash their state at the same hash points and tell each other the last few. Whom a majority contradicts is
wrong: it folds and serves no further, and finds out where that began; it goes on to store the log and to vote, since
its log is right. Where hashes differ and no majority is known, nobody who knows of it serves until one is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.errors import ConfluxError, Damaged, Diverged
from conflux.node.inquiry import Inquiry
from conflux.node.replays import Replays
from conflux.node.replica import Replica
from conflux.raft.configuration import majority
from conflux.store.dumps import encoder_of
from conflux.store.hash_points import Ballot, HashPoint, Verdict, Vote, vote_of
from conflux.store.machine import Machine, contradicted
from conflux.wire.peers import AskStateHash, HashedPoint, Hashes, StateHashThere

TELL_AGAIN_SECONDS = 2.0  # a report that may not have arrived
HASH_SLICES_PER_TURN = 16
HASH_SECONDS_PER_TURN = 0.001
REPLAY_SECONDS_PER_TURN = 0.002

_log = logging.getLogger("conflux.node")


class Guard:
    """The determinism guard of one node.

    Args:
        send: sends a message to a member.
        label_of: a member's label.
        clock: seconds, for the bound on a turn's replays.
        pause_s: how often hashes are told at most.
        patience_s: how long nodes may disagree until those that could settle it are missed.
    """

    def __init__(
        self,
        replica: Replica,
        app: App[Any, Any],
        *,
        send: Callable[[str, Any], object],
        label_of: Callable[[str], str],
        clock: Callable[[], float],
        pause_s: float,
        patience_s: float,
    ) -> None:
        self._replica = replica
        self._encode = encoder_of(app)
        self._send = send
        self._label_of = label_of
        self._clock = clock
        self._pause_s = pause_s
        self._patience_s = patience_s
        self._points: deque[HashPoint] = deque([replica.machine.hash_point], maxlen=limits.HASH_POINTS_KEPT)
        self._reports: dict[str, Hashes] = {}
        self._is_stale = True  # something was heard or hashed that is not judged yet
        self._told_news: tuple[int, bool, bool] | None = None
        self._told_s = 0.0
        self._split_since_s: float | None = None
        self._second_look: HashPoint | None = None  # at the state of the newest hash point that was looked at twice
        self._replays = Replays(replica, app, send)
        self._trouble: ConfluxError | None = None  # the one that was told, and inquired into
        self._inquiry: Inquiry | None = None
        self.state_problem: str | None = None  # why the state at the newest hash point has no encoding

    @property
    def has_work(self) -> bool:
        """True while there is something to hash or to fold."""
        return (
            not self._points[-1].done
            or (self._second_look is not None and not self._second_look.done)
            or (self._inquiry is not None and self._inquiry.has_work)
            or self._replays.has_work
        )

    def applied(self, machine: Machine) -> None:
        """An entry was folded."""
        if machine.hash_point is not self._points[-1]:
            self._points.append(machine.hash_point)
            self._replays.keep(machine)
            self._is_stale = True

    def installed(self, machine: Machine) -> None:
        """Another node's snapshot took the place of the log: what is known of its state is its own hash point."""
        self._points.clear()
        self._points.append(machine.hash_point)
        self._second_look = None
        self._replays.begin_anew()
        self._is_stale = True

    def hear(self, peer: str, message: Hashes | AskStateHash | StateHashThere) -> None:
        """Another member tells its hashes, asks for one, or answers."""
        match message:
            case Hashes():
                self._is_stale = self._is_stale or self._reports.get(peer) != message
                self._reports[peer] = message
            case AskStateHash():
                self._replays.ask(peer, message)
            case StateHashThere():
                if self._inquiry is not None:
                    self._inquiry.hear(message)

    def turn(self, now_s: float) -> None:
        """Judge, look for the cause of trouble, and tell."""
        if self._replica.failure is None and (self._is_stale or self._split_since_s is not None):
            self._is_stale = False
            self._judge(now_s)
        self._inquire(now_s)
        self._tell(now_s)

    def work(self) -> None:
        """Hash and fold a little."""
        newest = self._points[-1]
        began_s = self._clock()
        for _ in range(HASH_SLICES_PER_TURN):
            if not newest.done:
                self._is_stale = not newest.work() or self._is_stale
                self._note_problem(newest)
            elif not self._look_again(newest):
                break
            if self._clock() - began_s >= HASH_SECONDS_PER_TURN:
                break
        deadline_s = began_s + REPLAY_SECONDS_PER_TURN
        while self._replays.has_work or (self._inquiry is not None and self._inquiry.has_work):
            self._replays.work()
            if self._inquiry is not None:
                self._inquiry.work()
            if self._clock() >= deadline_s:
                return

    def _note_problem(self, point: HashPoint) -> None:
        """A state that can't be kept is said: no snapshot will be taken, so the log grows, and nobody can read it."""
        if point.done and point.problem != self.state_problem:
            self.state_problem = point.problem
            if point.problem is not None:
                _log.error("the state at revision %d can't be kept or read: %s", point.revision, point.problem)

    def wait_s(self, now_s: float) -> float:
        """How long until there is something to tell, to ask or to judge by itself."""
        if self._inquiry is not None or self._split_since_s is not None or self._is_stale or self._has_news:
            return self._pause_s
        return max(0.0, self._told_s + TELL_AGAIN_SECONDS - now_s)

    # -- inside: the verdict -------------------------------------------------------------------------------------

    def _judge(self, now_s: float) -> None:
        """Hold every hash point that is not settled yet against the others'."""
        split = None
        if self._is_contradicted() or self._could_not_fold():
            return
        for ballot in self._ballots():
            match ballot.verdict(majority(len(self._voters()))):
                case Verdict.AGREED:
                    if isinstance(ballot.mine, HashedPoint):
                        self._replica.agreed = ballot.mine
                    split = None
                case Verdict.OUTVOTED:
                    self._outvoted(ballot)
                    return
                case Verdict.SPLIT:
                    split = split or ballot
                case Verdict.OPEN:
                    pass
        self._doubt(split, now_s)

    def _voters(self) -> tuple[str, ...]:
        return tuple(sorted(self._replica.raft.configuration.voters))

    def _others(self) -> list[str]:
        return [voter for voter in self._voters() if voter != self._replica.raft.identity]

    def _ballots(self) -> list[Ballot]:
        """A ballot for each hash point, anyone's, that is not settled: by an agreement, or by the log itself."""
        mine = self._hashes()
        found = {point.index: point for point in mine.points}
        for voter in self._others():
            if voter in self._reports:
                found |= {point.index: point for point in self._reports[voter].points}
        agreed, logged = self._replica.agreed, self._replica.machine.hash_logged
        settled = agreed.index if agreed else -1
        ballots = []
        for index, point in sorted(found.items()):
            own = vote_of(mine, index)
            if index > settled and (point.revision > logged or not index) and own is not Vote.UNKNOWN:
                votes = {voter: vote_of(self._reports.get(voter), index) for voter in self._others()}
                ballots.append(Ballot(index, point.revision, own, votes))
        return ballots

    @property
    def agreed_revision(self) -> int:
        """The newest revision at which a majority is known to have this node's state."""
        agreed = self._replica.agreed
        return max(agreed.revision if agreed else 0, self._replica.machine.hash_logged)

    def _is_contradicted(self) -> bool:
        """True where a hash that was worked out late is not the one in the log."""
        wrong = next((point for point in self._points if point.is_contradicted), None)
        if wrong is not None:
            right = [point.revision for point in self._points if point.done and point.digest == point.expected]
            since = max((revision for revision in right if revision < wrong.revision), default=0)
            self._fail(contradicted(wrong.revision, since_revision=since), [])
        return wrong is not None

    def _could_not_fold(self) -> bool:
        """True where on a majority of nodes the reducer raised at what it folded here."""
        index = self._replica.machine.index
        raised = [voter for voter in self._others() if 0 < self._raised_index(voter) <= index]
        if len(raised) < majority(len(self._voters())):
            return False
        first = min(self._raised_index(voter) for voter in raised)
        text = (
            f"the reducer raised on a majority of the nodes ({self._names(raised)}), at log index {first}, and not here"
        )
        self._fail(Diverged(text, since_revision=self.agreed_revision, revision=self.agreed_revision), [])
        return True

    def _raised_index(self, voter: str) -> int:
        return self._reports[voter].raised_index if voter in self._reports else 0

    def _outvoted(self, ballot: Ballot) -> None:
        right = ballot.majority_of_others()
        vote = ballot.votes[right[0]]
        if (
            isinstance(ballot.mine, HashedPoint)
            and isinstance(vote, HashedPoint)
            and vote.log_hash != ballot.mine.log_hash
        ):
            raise Damaged(f"the log up to index {ballot.index} is not the one that a majority of the nodes has")
        since = self.agreed_revision
        text = f"the state at revision {ballot.revision} is not the one that a majority of the nodes has"
        error = Diverged(
            f"{text} ({self._names(right)}){_since_when(since)}", since_revision=since, revision=ballot.revision
        )
        self._fail(error, right)

    def _fail(self, error: Diverged, right: list[str]) -> None:
        """This node is wrong. If it leads it hands over to one that is right."""
        best = self._replica.raft.most_level_voter()
        successors = [best] if best in right else right
        self._replica.doubt = None
        self._replica.fail(error, successors[0] if successors else None)

    def _doubt(self, split: Ballot | None, now_s: float) -> None:
        replica = self._replica
        if split is None:
            self._split_since_s = None
            if replica.doubt is not None:
                replica.doubt = None
                _log.warning("a majority agrees with this node again: it serves")
            return
        if self._split_since_s is None:
            self._split_since_s = now_s
        if replica.doubt is None and now_s - self._split_since_s >= self._patience_s:
            since = self.agreed_revision
            replica.doubt = Diverged(
                f"the nodes disagree on the state at revision {split.revision}, and no hash of it is a majority's: "
                f"{self._opinions(split)}{_since_when(since)}",
                since_revision=since,
                revision=split.revision,
            )
            replica.raft.step_down()

    def _opinions(self, ballot: Ballot) -> str:
        votes = ballot.votes | {self._replica.raft.identity: ballot.mine}
        told = {self._label_of(voter): vote for voter, vote in votes.items() if vote is not Vote.UNKNOWN}
        return ", ".join(f"{label} {_opinion(vote)}" for label, vote in sorted(told.items()))

    def _names(self, members: list[str]) -> str:
        return ", ".join(sorted(self._label_of(member) for member in members))

    # -- inside: a state that changes ------------------------------------------------------------------------------

    def _look_again(self, newest: HashPoint) -> bool:
        """Hash the state of the newest hash point once more, after later actions: it must be what it was.

        True while there is more to hash.
        """
        if newest.is_frozen:
            return False
        look = self._second_look
        if look is None or look.revision != newest.revision:
            self._second_look = None  # one that began at an older point is of no interest any more, done or not
            known = self._replays.state_at(newest.revision)
            if known is not None and self._replica.machine.revision > newest.revision:
                self._second_look = HashPoint(newest.revision, known.state, self._encode)
            return self._second_look is not None
        if not look.done and not look.work() and look.digest != newest.digest and self._replica.failure is None:
            text = f"the state of revision {newest.revision} changed after it was reached"
            reason = "the reducer or a method changes the state that it is given"
            self._fail(Diverged(f"{text}: {reason}", since_revision=newest.revision, revision=newest.revision), [])
        return not look.done

    # -- inside: where it began --------------------------------------------------------------------------------------

    def _inquire(self, now_s: float) -> None:
        trouble = self._replica.refusal
        if trouble is not self._trouble:
            self._trouble, self._inquiry = trouble, None
            if trouble is not None:
                _log.error("%s", trouble)
            if isinstance(trouble, Diverged) and not trouble.raised:
                self._begin_inquiry(trouble)
        if self._inquiry is not None and isinstance(trouble, Diverged):
            self._inquiry.turn(now_s)
            if self._inquiry.is_over:
                self._conclude(self._inquiry, trouble)
                self._inquiry = None

    def _begin_inquiry(self, trouble: Diverged) -> None:
        replay = self._replays.open(trouble.since_revision, trouble.revision)
        if replay is None or trouble.revision <= trouble.since_revision:
            return
        ballot = next((each for each in self._ballots() if each.revision == trouble.revision), None)
        peers = (ballot.those_who_differ() if ballot else []) or self._others()
        self._inquiry = Inquiry(replay, replay.base_revision, trouble.revision, peers, self._send)

    def _conclude(self, inquiry: Inquiry, trouble: Diverged) -> None:
        if inquiry.is_not_the_log:
            text = f"{trouble}; folded anew the log gives the others' state, so this one was changed by something else"
        elif inquiry.first is not None:
            event = inquiry.replay.event_at(inquiry.first)
            action = f" (action of {event.method!r})" if event is not None else ""
            text = f"{trouble}; the first action that this node folds otherwise is revision {inquiry.first}{action}"
        else:
            return
        found = Diverged(text, since_revision=trouble.since_revision, revision=inquiry.first or trouble.revision)
        if self._replica.failure is trouble:
            self._replica.failure = found
        else:
            self._replica.doubt = found
        self._trouble = found
        _log.error("%s", found)

    # -- inside: telling ---------------------------------------------------------------------------------------------

    def _tell(self, now_s: float) -> None:
        since_s = now_s - self._told_s
        if (not self._has_news and since_s < TELL_AGAIN_SECONDS) or (self._told_news and since_s < self._pause_s):
            return
        self._told_news, self._told_s = self._news, now_s
        hashes = self._hashes()
        for voter in self._others():
            self._send(voter, hashes)

    @property
    def _news(self) -> tuple[int, bool, bool]:
        """What others should know soon: not how far it is folded, since that changes at every entry."""
        newest = self._points[-1]
        return newest.index, newest.done, self._replica.failure is not None

    @property
    def _has_news(self) -> bool:
        return self._told_news != self._news

    def _hashes(self) -> Hashes:
        """What this node says of its state."""
        newest, machine, failure = self._points[-1], self._replica.machine, self._replica.failure
        covered = machine.index if newest.done else newest.index - 1
        raised = machine.index + 1 if isinstance(failure, Diverged) and failure.raised else 0
        return Hashes(tuple(point.hashed() for point in self._points if point.done), max(covered, 0), raised)


def _since_when(revision: int) -> str:
    return f"; at revision {revision} it was" if revision else ""


def _opinion(vote: HashedPoint | Vote) -> str:
    return vote.state_hash.hex()[:8] or "no hash" if isinstance(vote, HashedPoint) else vote.value
