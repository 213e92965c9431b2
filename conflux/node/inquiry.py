"""`Inquiry`: at which revision did this node begin to fold the log otherwise than another? By bisection, with its help.

Both fold the log anew. Each answer halves the range: a state that is equal there was equal before, and one that differs
differs from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from conflux.store.replay import Replay
from conflux.wire.peers import AskStateHash, StateHashThere

ASK_AGAIN_SECONDS = 1.0
ATTEMPTS_MAX = 10  # questions in a row that nobody answers

Ask = Callable[[str, AskStateHash], object]


class Inquiry:
    """One search, from a revision at which the states were equal to one at which they were not.

    Args:
        replay: folds this node's log anew, from `low` on.
        peers: whose state is another one, one of which is asked at a time.

    Attributes:
        first: the first revision that this node folds otherwise, once it is found.
        is_not_the_log: the log, folded anew, gives the peer's state: this node's was changed by something else.
    """

    def __init__(self, replay: Replay, low: int, high: int, peers: Sequence[str], ask: Ask) -> None:
        self.first: int | None = None
        self.is_not_the_log = False
        self.is_over = False
        self.replay = replay
        self._low = low
        self._high = high
        self._probe = high
        self._peers = [*peers]
        self._ask = ask
        self._theirs: bytes | None = None
        self._ask_again_s = 0.0
        self._attempts = 0
        self._replay_to(high)

    @property
    def has_work(self) -> bool:
        """True while this node has something to fold."""
        return not self.is_over and self.replay.state_hash is None

    def work(self) -> None:
        """Fold or hash a slice."""
        if self.has_work and not self.replay.work():
            self._compare()

    def turn(self, now_s: float) -> None:
        """Ask, where an answer is due."""
        if self.is_over or self._theirs is not None or now_s < self._ask_again_s:
            return
        self._attempts += 1
        self._ask_again_s = now_s + ASK_AGAIN_SECONDS
        if self._attempts > ATTEMPTS_MAX or not self._peers:
            self.is_over = True
        else:
            if self._attempts > 1:  # one peer as long as it answers: there may be more than one other opinion
                self._peers.append(self._peers.pop(0))
            self._ask(self._peers[0], AskStateHash(self._probe))

    def hear(self, answer: StateHashThere) -> None:
        """A peer answered."""
        if answer.revision == self._probe and answer.state_hash is not None and not self.is_over:
            self._theirs = answer.state_hash
            self._attempts = 0
            self._compare()

    def _replay_to(self, revision: int) -> None:
        self._probe = revision
        self._theirs = None
        self._ask_again_s = 0.0
        self.replay.seek(revision)

    def _compare(self) -> None:
        mine, theirs = self.replay.state_hash, self._theirs
        if mine is None or theirs is None:
            return
        if mine != theirs:
            self._high = self._probe
        elif self._probe == self._high:
            self.is_not_the_log = self.is_over = True
            return
        else:
            self._low = self._probe
        if self._high - self._low <= 1:
            self.first = self._high
            self.is_over = True
        else:
            self._replay_to((self._low + self._high) // 2)
