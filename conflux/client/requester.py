"""`Requester`: one client's side of exactly once. Pure: messages and the time go in, messages and results come out.

Calls wait in a queue until a session is open and there is room, then get their sequence numbers and travel in frames
of as many as are waiting. A number stays with its call for ever; what isn't answered is sent again, through whichever
node, and the session makes the repeat harmless.

Whether a call that ran out of time may still be applied is known exactly: it may, as long as one frame that carried it
was neither answered nor refused. Otherwise a void takes its place and the caller may trust that nothing happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from conflux import limits
from conflux.client.call import Call, tell_outcomes
from conflux.errors import (
    Busy,
    ConfluxError,
    MethodRejected,
    NoLeader,
    NotApplied,
    NotReady,
    OutcomeUnknown,
    SessionExpired,
    UnknownMethod,
)
from conflux.wire.clients import (
    Answers,
    Appended,
    Code,
    OpenSession,
    Perform,
    Refused,
    SessionOpened,
)

RESEND_SECONDS = 0.4  # without an answer for so long, what is unanswered goes out again
BACKOFF_SECONDS_MIN = 0.02
BACKOFF_SECONDS_MAX = 0.2
NEVER_S = float("inf")
CALL_OVERHEAD_BYTES_MAX = limits.METHOD_NAME_BYTES_MAX + 16  # its name, whatever that is, and two lengths
FRAME_FULL_BYTES = limits.FRAME_BYTES_MAX - 64 * limits.KIB - limits.ACTION_BYTES_MAX  # one more call always fits

_REFUSALS: dict[Code, type[NotApplied]] = {
    Code.NO_LEADER: NoLeader,
    Code.BUSY: Busy,
    Code.NOT_READY: NotReady,
}


@dataclass(slots=True)
class _Frame:
    """A Perform that was handed to the transport and is neither refused nor wholly answered."""

    first: int
    end: int


class Requester:
    """Carries calls of one client, in order, through one session after another.

    Args:
        give_up: called when nothing was heard for a while: time to try another node.
        no_answer: makes the error of a call that ran out of time without any refusal.
        first_number: of its requests, from 1 on.
    """

    def __init__(
        self,
        give_up: Callable[[], None] = lambda: None,
        *,
        no_answer: Callable[[], ConfluxError] = lambda: NoLeader("no leader answered in time"),
        first_number: int = 1,
    ) -> None:
        self._give_up = give_up
        self._no_answer = no_answer
        self._numbers = count(first_number)
        self._queue: deque[Call] = deque()  # without a number yet
        self._calls: deque[Call] = deque()  # numbered, from _first_unanswered on
        self._first_unanswered = 0
        self._frames: dict[int, _Frame] = {}
        self._session: int | None = None
        self._opening: int | None = None
        self._resend_from: int | None = None
        self._resent_at = 0  # requests before this number were overtaken by sending all of it again
        self._quiet_since_s = 0.0  # since when an answer is waited for
        self._not_before_s = 0.0  # after a refusal: when to try again
        self._backoff_s = BACKOFF_SECONDS_MIN
        self._refusal: NotApplied | None = None  # why the last attempt failed: what a caller is told at its deadline
        self._next_deadline_s = NEVER_S  # no call runs out of time before it

    @property
    def session(self) -> int | None:
        return self._session

    @property
    def idle(self) -> bool:
        """True where no call waits for anything."""
        return not self._queue and not self._calls

    @property
    def unfinished(self) -> int:
        """How many calls are waiting or on their way."""
        return len(self._queue) + len(self._calls)

    def submit(self, *calls: Call) -> None:
        """Take calls, in this order."""
        self._queue.extend(calls)
        if deadlines := [call.deadline_s for call in calls if call.deadline_s is not None]:
            self._next_deadline_s = min(self._next_deadline_s, *deadlines)

    def pump(self, now_s: float) -> list[OpenSession | Perform]:
        """What is to be sent now. A message that couldn't be sent comes back through `unsent`."""
        if now_s >= self._next_deadline_s:
            self._expire(now_s)
        if now_s < self._not_before_s or self.idle:
            return []
        if self._waits_for_answer and now_s - self._quiet_since_s > RESEND_SECONDS:
            self._opening = None
            self._resend_from = self._first_unanswered
            self._quiet_since_s = now_s
            self._give_up()
        if self._session is None:
            return self._open(now_s)
        messages = self._resend() + self._send_new()
        if messages and not self._quiet_since_s:
            self._quiet_since_s = now_s
        return [*messages]

    def wait_s(self, now_s: float) -> float | None:
        """How long until `pump` may have something to do by itself; None: not before something comes in."""
        times = [self._next_deadline_s]
        if not self.idle:
            if self._not_before_s > now_s:
                times.append(self._not_before_s)
            elif self._waits_for_answer:
                times.append(self._quiet_since_s + RESEND_SECONDS)
        next_s = min(times)
        return max(0.0, next_s - now_s) if next_s < NEVER_S else None

    def unsent(self, message: OpenSession | Perform, now_s: float) -> None:
        """The transport did not take a message: it is certain that nobody has it."""
        self._refused(message.request, now_s)

    def restart(self, now_s: float) -> None:
        """Send all that is unanswered again, at once: the node it went to is gone, or another leads."""
        self._opening = None
        self._not_before_s = now_s
        if self._calls:
            self._resend_from = self._first_unanswered

    def receive(self, message: Any, now_s: float) -> None:
        """Take a message from a node; what isn't ours is ignored."""
        match message:
            case Answers():
                self._answered(message, now_s)
            case Appended():
                self._appended(message)
            case SessionOpened() if message.request == self._opening:
                self._opening = None
                self._session = message.session
                self._heard(now_s)
            case Refused():
                self._on_refusal(message, now_s)

    def close(self, error: ConfluxError) -> None:
        """Tell every caller that waits: `error` where the call was never sent, else that its outcome is unknown."""
        for sequence, call in enumerate(self._calls, self._first_unanswered):
            call.tell(_unknown() if self._may_be_applied(sequence) else error)
        for call in self._queue:
            call.tell(error)
        self._calls.clear()
        self._queue.clear()

    # -- sending -------------------------------------------------------------------------------------------------

    @property
    def _waits_for_answer(self) -> bool:
        return self._quiet_since_s > 0 and (self._opening is not None or bool(self._calls))

    def _open(self, now_s: float) -> list[OpenSession | Perform]:
        if self._opening is not None:
            return []
        self._opening = next(self._numbers)
        if not self._quiet_since_s:
            self._quiet_since_s = now_s
        return [OpenSession(self._opening)]

    def _resend(self) -> list[Perform]:
        if self._resend_from is None:
            return []
        first, self._resend_from = max(self._resend_from, self._first_unanswered), None
        self._resent_at = next(self._numbers)
        skip = first - self._first_unanswered
        return self._frames_of([*self._calls][skip:], first)

    def _send_new(self) -> list[Perform]:
        room = limits.UNANSWERED_MAX - len(self._calls)
        if room <= 0 or not self._queue:
            return []
        first = self._first_unanswered + len(self._calls)
        new = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        self._calls.extend(new)
        return self._frames_of(new, first)

    def _frames_of(self, calls: list[Call], first: int) -> list[Perform]:
        """Perform messages for consecutive calls, cut where a frame would grow too large."""
        messages, size, start = [], 0, 0
        for stop, call in enumerate(calls, 1):
            size += len(call.arguments) + CALL_OVERHEAD_BYTES_MAX
            if size >= FRAME_FULL_BYTES:
                messages.append(self._frame_of(calls[start:stop], first + start))
                size, start = 0, stop
        if start < len(calls):
            messages.append(self._frame_of(calls[start:], first + start))
        return messages

    def _frame_of(self, calls: list[Call], first: int) -> Perform:
        request = next(self._numbers)
        assert self._session is not None
        self._frames[request] = _Frame(first, first + len(calls))
        packed = [(call.method, call.arguments) for call in calls]
        appended = any(call.when_appended for call in calls)
        return Perform(request, self._session, self._first_unanswered, first, packed, appended)

    # -- receiving -----------------------------------------------------------------------------------------------

    def _heard(self, now_s: float, *, news_of_first: bool = True) -> None:
        """The cluster answers. Silence is measured by the first unanswered call: its answer may be what was lost."""
        self._backoff_s = BACKOFF_SECONDS_MIN
        self._refusal = None
        if news_of_first or not self._calls:
            self._quiet_since_s = now_s if self._calls else 0.0

    def _answered(self, answers: Answers, now_s: float) -> None:
        if answers.session != self._session:
            return
        outcomes, revision = answers.outcomes, answers.first_revision
        place = answers.first_sequence - self._first_unanswered
        if place < 0:  # its beginning was answered before
            revision += sum(type(outcome) is bytes for outcome in outcomes[:-place])
            outcomes, place = outcomes[-place:], 0
        is_first = place == 0 and bool(self._calls) and bool(outcomes)
        if is_first:
            calls = [self._calls.popleft() for _ in range(min(len(outcomes), len(self._calls)))]
            self._first_unanswered += len(calls)
            self._forget_frames()
        else:
            calls = [*islice(self._calls, place, place + len(outcomes))]
        tell_outcomes(calls, outcomes, answers, revision)
        self._heard(now_s, news_of_first=is_first)

    def _forget_frames(self) -> None:
        """Drop the frames that are answered, in the order in which they left: a repeat may stay a while longer."""
        frames = self._frames
        while frames:
            number, frame = next(iter(frames.items()))
            if frame.end > self._first_unanswered:
                return
            del frames[number]

    def _appended(self, appended: Appended) -> None:
        """The leader has these calls on its disk: enough for callers that asked for no more."""
        if appended.session != self._session:
            return
        for sequence, outcome in enumerate(appended.outcomes, appended.first_sequence):
            place = sequence - self._first_unanswered
            if 0 <= place < len(self._calls) and self._calls[place].when_appended:
                tell_outcomes([self._calls[place]], [outcome], appended, None)

    def _on_refusal(self, refused: Refused, now_s: float) -> None:
        if refused.request != self._opening and refused.request not in self._frames:
            return
        match refused.code:
            case Code.RESEND:
                self._frames.pop(refused.request)
                if refused.request > self._resent_at:
                    self._resend_from = refused.sequence
            case Code.UNKNOWN_METHOD | Code.BAD_ARGUMENTS:
                self._frames.pop(refused.request)
                self._refuse_one(refused)
            case Code.SESSION_EXPIRED:
                self._frames.pop(refused.request)
                self._session_expired()
            case _:
                self._refusal = _REFUSALS.get(refused.code, NotApplied)(refused.message)
                self._refused(refused.request, now_s)

    def _refused(self, request: int, now_s: float) -> None:
        """Nobody took the message: try again a little later."""
        if request == self._opening:
            self._opening = None
        elif frame := self._frames.pop(request, None):
            if request < self._resent_at:
                return
            first = frame.first if self._resend_from is None else min(self._resend_from, frame.first)
            self._resend_from = first
        self._not_before_s = now_s + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_SECONDS_MAX)

    def _refuse_one(self, refused: Refused) -> None:
        """One call of a frame can't run in any state, and its frame was refused as a whole: leave it out."""
        place = refused.sequence - self._first_unanswered
        if 0 <= place < len(self._calls):
            call = self._calls[place]
            kind = UnknownMethod if refused.code is Code.UNKNOWN_METHOD else MethodRejected
            call.tell(kind(refused.message))
            call.make_void()
        self._resend_from = self._first_unanswered

    def _session_expired(self) -> None:
        """The table has forgotten this session: what may have been applied is lost to sight, the rest moves on."""
        keep = []
        for sequence, call in enumerate(self._calls, self._first_unanswered):
            if self._may_be_applied(sequence):
                call.tell(SessionExpired("the session expired before its answer came"))
            elif call.caller is not None:
                keep.append(call)
        self._queue.extendleft(reversed(keep))
        self._calls.clear()
        self._frames.clear()
        self._session = None
        self._resend_from = None
        self._first_unanswered = 0
        self._quiet_since_s = 0.0

    # -- time-outs -----------------------------------------------------------------------------------------------

    def _expire(self, now_s: float) -> None:
        for sequence, call in enumerate(self._calls, self._first_unanswered):
            if call.caller is not None and call.deadline_s is not None and call.deadline_s <= now_s:
                if self._may_be_applied(sequence):
                    call.tell(_unknown())
                else:
                    call.tell(self._not_applied())
                    call.make_void()
        late = [call for call in self._queue if call.deadline_s is not None and call.deadline_s <= now_s]
        for call in late:
            call.tell(self._not_applied())
            self._queue.remove(call)
        waiting = (call.deadline_s for call in (*self._calls, *self._queue) if call.caller is not None)
        self._next_deadline_s = min((each for each in waiting if each is not None), default=NEVER_S)

    def _may_be_applied(self, sequence: int) -> bool:
        return any(frame.first <= sequence < frame.end for frame in self._frames.values())

    def _not_applied(self) -> ConfluxError:
        return self._no_answer() if self._refusal is None else self._refusal


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("no answer in time: it may or may not be applied")
