"""`Client`: the verbs from outside the cluster."""

from __future__ import annotations

import json
import os
import queue
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from conflux.client.answer import Answer
from conflux.client.arguments import make_call, revision_of
from conflux.client.asked import Asked
from conflux.client.backup import Backup
from conflux.client.committed import Committed
from conflux.client.engine import Engine, unreachable
from conflux.client.finding import DEFAULT_CLUSTER, MDNS_SECONDS_MAX, default_data_dir, find
from conflux.client.reports import best_report, named_member
from conflux.client.watching import Watching
from conflux.errors import (
    ChangeRefused,
    Closed,
    ConfluxError,
    NoLeader,
    NotReady,
    OptionsError,
    OutcomeUnknown,
    Unreachable,
)
from conflux.transport.keys import ClusterKey
from conflux.usercode import inside_user_code
from conflux.wire.clients import (
    BackUp,
    BackupReady,
    Change,
    Changed,
    ChangeMembers,
    Consistency,
    Read,
    ReadAt,
    SnapshotTaken,
    TakeSnapshot,
    TransferLeadership,
)

STATUS_SECONDS_MAX = 1.0
ReadConsistency = Literal["local", "linearizable"]
Wait = Literal["committed", "appended"]
_CONSISTENCIES = {"local": Consistency.LOCAL, "linearizable": Consistency.LINEARIZABLE}


@dataclass(frozen=True, slots=True)
class MembersChange:
    """A change of the members that is committed."""

    index: int | None  # of its log entry; None where the answer was lost and the members show that it was made
    token: str  # of an invitation; else empty


class Client:
    """A client of one cluster. Any thread may use it.

    Args:
        cluster: its name; a cluster of this machine is found in `data_dir`.
        endpoints: addresses, HOST:PORT, where it doesn't run here.
        key: the cluster's key, or the file that holds it; default: the one in the cluster's directory.
        mdns_seconds: how long to look on the network, where a key is held and no endpoint is known.

    Raises:
        Unreachable: no endpoint is known.
        OptionsError: the key can't be used.
    """

    def __init__(
        self,
        cluster: str = DEFAULT_CLUSTER,
        *,
        endpoints: tuple[str, ...] | list[str] = (),
        key: ClusterKey | str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        mdns_seconds: float = MDNS_SECONDS_MAX,
    ) -> None:
        from conflux.transport.zeromq_client import ZeroMQClientChannel

        if isinstance(endpoints, str):
            raise OptionsError(f"endpoints is a list of addresses, not {endpoints!r}")
        key_file = None if key is None or isinstance(key, ClusterKey) else Path(key)
        found = find(
            cluster=cluster,
            data_dir=Path(data_dir) if data_dir else default_data_dir(),
            endpoints=tuple(endpoints),
            key_file=key_file,
            mdns_seconds=mdns_seconds,
        )
        self.found = found
        self._endpoints = found.endpoints
        self._engine = Engine(ZeroMQClientChannel(key if isinstance(key, ClusterKey) else found.key), found.endpoints)
        self._closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def submit(self, method: str, *args: Any, timeout: float | None = None) -> Future[Committed]:
        """Perform a method; the future resolves when its entry is committed, or to one of the errors of `perform`."""
        self._check_open()
        answer = Answer()
        self._engine.submit(make_call(method, args, timeout, "committed", answer))
        return answer

    def perform(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        wait: Wait = "committed",
    ) -> Any:
        """Perform a method and wait.

        Args:
            timeout: seconds; None waits for ever.
            wait: "appended" is content once the leader has it on its disk; it may still be lost.

        Returns:
            The action, or None where the method dispatched nothing.

        Raises:
            MethodRejected, UnknownMethod, NotApplied, OutcomeUnknown, SessionExpired, Unreachable.
        """
        self._check_open()
        answer = Answer()
        self._engine.submit(make_call(method, args, timeout, wait, answer))
        return answer.result().action

    def get_state(self, consistency: ReadConsistency = "linearizable", *, timeout: float | None = None) -> Any:
        """The state: confirmed by a majority, or just what the node that answers has ("local")."""
        return self.get_revision_and_state(consistency, timeout=timeout)[1]

    def get_revision_and_state(
        self, consistency: ReadConsistency = "linearizable", *, timeout: float | None = None
    ) -> tuple[int, Any]:
        """(revision, state)."""
        return self._read(consistency, timeout, revision_only=False)

    def get_revision(self, consistency: ReadConsistency = "linearizable", *, timeout: float | None = None) -> int:
        """The revision of the state, without the state: also to see whether the cluster serves."""
        return self._read(consistency, timeout, revision_only=True)[0]

    def get_state_at(self, revision: int, *, timeout: float | None = None) -> Any:
        """The state as it was at a revision, from the first that the node that answers can look back to.

        Raises:
            NotRetained: it is compacted away, or not there yet.
            OptionsError: it is no revision.
        """
        self._check_open()
        asked = self._engine.ask(lambda number: ReadAt(number, revision_of(revision)))
        found: tuple[int, Any] = self._wait_for(asked, timeout)
        return found[1]

    def transfer_leadership(self, target: str = "", *, timeout: float | None = None) -> None:
        """Ask the leader to hand over to the member of this identity (default: whoever is most level)."""
        self._check_open()
        self._wait_for(self._engine.ask(lambda number: TransferLeadership(number, target)), timeout)

    def members(self, *, timeout: float = STATUS_SECONDS_MAX) -> list[dict[str, Any]]:
        """The members as the log says: `id`, `label`, `endpoint`, `standing` (voter, learner, joining).

        Raises:
            NotReady: no node that answers belongs to a formed cluster.
        """
        report = best_report(self.status(timeout=timeout))
        if report is None:
            raise NotReady("no node answers that belongs to a formed cluster")
        members: list[dict[str, Any]] = report["members"]
        return members

    def change_members(
        self,
        change: Change | str,
        member: str = "",
        other: str = "",
        *,
        force: bool = False,
        timeout: float | None = None,
    ) -> MembersChange:
        """Change the members, and wait until that is committed. Asked again while there is no leader.

        Args:
            change: "add" (a candidate becomes a learner, and a voter once it has caught up), "learn" (it stays a
                learner), "promote", "remove", "replace" (`other` takes the place of `member`), "invite" and
                "invite-learner" (a token for `conflux start --join`).
            member, other: a label, an identity, or the unique beginning of one.
            force: remove a member also where that leaves no healthy majority.

        Raises:
            ChangeRefused, NotApplied, OutcomeUnknown, Unreachable.
        """
        self._check_open()
        try:
            wanted = Change(change)
        except ValueError:
            raise OptionsError(f"change is one of {', '.join(Change)}, not {change!r}") from None
        asked = self._engine.ask(lambda number: ChangeMembers(number, wanted, member, other, force))
        try:
            changed: Changed = self._wait_for(asked, timeout)
        except ChangeRefused:
            if asked.may_be_done and self._is_so(wanted, member, other):
                return MembersChange(None, "")  # the answer to an earlier attempt was lost with its leader
            raise
        return MembersChange(changed.index, changed.token)

    def take_snapshot(self, endpoint: str, *, timeout: float | None = None) -> SnapshotTaken:
        """Let the node at `endpoint` take a snapshot now; gives its index, revision and size."""
        self._check_open()
        self._engine.run_soon(lambda now_s: self._engine.link.learn([endpoint]))
        taken: SnapshotTaken = self._wait_for(self._engine.ask(TakeSnapshot, endpoint), timeout)
        return taken

    def back_up(self, endpoint: str | None = None, *, timeout: float | None = None) -> Backup:
        """Let a node take a snapshot that holds all that was acknowledged before, and hand it out.

        Args:
            endpoint: of the node; default: the leader.

        Raises:
            NotReady: no node answers that belongs to a formed cluster.
            NotApplied, Unreachable: no leader, or no answer, in time.
        """
        self._check_open()
        report = best_report(self.status())
        if report is None:
            raise NotReady("no node answers that belongs to a formed cluster")
        leader = next((each["endpoint"] for each in report["members"] if each["id"] == report["leader"]), None)
        address = endpoint or leader or report["node"]["endpoint"]
        self._engine.run_soon(lambda now_s: self._engine.link.learn([address]))
        ready: BackupReady = self._wait_for(self._engine.ask(BackUp, address), timeout)
        return Backup(ready, address, report["cluster_id"], self._engine, self._wait_for)

    def watch(self, from_revision: int | None = None) -> Iterator[Committed]:
        """Committed actions, each once and in order, from a revision on (default: from now on), over leader changes.

        Where what comes next is compacted away, first a Committed with `gap`: its `state` at its `revision` stands for
        all before, and the watch goes on behind it.
        """
        return self.watch_from(from_revision).committed()

    def watch_from(self, from_revision: int | None, *, timeout: float | None = None) -> Watching:
        """As `watch`, but first the revision that it begins with, once a node has answered.

        Raises:
            Unreachable: no node answered within `timeout`.
        """
        self._check_open()
        feed = self._engine.watch(0 if from_revision is None else revision_of(from_revision))
        return Watching(feed, timeout=timeout, nothing_came=self._nothing_came, end=self._engine.unwatch)

    def status(self, *, timeout: float = STATUS_SECONDS_MAX) -> list[dict[str, Any]]:
        """What each node that answers in time tells of itself and its cluster."""
        return list({report["node"]["id"]: report for report in self._reports(timeout)}.values())

    def cluster_name(self, *, timeout: float = STATUS_SECONDS_MAX) -> str:
        """The name of the cluster that is spoken to, as the first node that answers tells it.

        Raises:
            Unreachable: no node answers in time.
        """
        for report in self._reports(timeout):
            name: str = report["cluster"]
            return name
        raise self.unreachable()

    def _reports(self, timeout: float) -> Iterator[dict[str, Any]]:
        """The nodes' reports as they come; a node with two addresses answers twice."""
        self._check_open()
        asked: set[str] = set()
        answered = 0
        answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        deadline_s = time.monotonic() + timeout
        waiting = list(self._endpoints)
        number = self._engine.begin_status(answers)
        try:
            while True:
                if new := [address for address in dict.fromkeys(waiting) if address not in asked]:
                    asked.update(new)
                    self._engine.ask_status(number, new)
                if answered >= len(asked):
                    break
                report = json.loads(answers.get(timeout=max(0.001, deadline_s - time.monotonic())))
                answered += 1
                waiting = _endpoints_of(report)
                yield report
        except queue.Empty:
            pass  # the others do not answer in time
        finally:
            self._engine.end_status(number)

    def unreachable(self) -> Unreachable:
        """The error for where no node answers: it says why, as far as that can be seen from here."""
        return unreachable(self._engine.link)

    def get_log_text(self, endpoint: str, *, timeout: float | None = None) -> str:
        """The end of what the node at `endpoint` wrote to its log file."""
        self._check_open()
        self._engine.run_soon(lambda now_s: self._engine.link.learn([endpoint]))
        text: str = self._wait_for(self._engine.ask_log(endpoint), timeout)
        return text

    def close(self) -> None:
        """End the client; whoever waits gets `Closed`, or `OutcomeUnknown` where a call was on its way."""
        if not self._closed:
            self._closed = True
            self._engine.close(Closed("the client is closed"))

    # -- inside --------------------------------------------------------------------------------------------------

    def _read(self, consistency: str, timeout: float | None, *, revision_only: bool) -> tuple[int, Any]:
        self._check_open()
        if consistency not in _CONSISTENCIES:
            raise OptionsError(f"consistency is 'local' or 'linearizable', not {consistency!r}")
        wanted = _CONSISTENCIES[consistency]
        asked = self._engine.ask(lambda number: Read(number, wanted, revision_only))
        found: tuple[int, Any] = self._wait_for(asked, timeout)
        return found

    def _wait_for(self, asked: Asked, timeout: float | None) -> Any:
        try:
            return asked.future.result(timeout)
        except (TimeoutError, CancelledError):
            asked.future.cancel()
            if asked.outcome_is_open:
                raise OutcomeUnknown("no answer in time: the members may or may not be changed") from None
            raise (asked.refusal or self._nothing_came()) from None

    def _nothing_came(self) -> ConfluxError:
        if not self._engine.link.ever_heard:
            return unreachable(self._engine.link)
        return NoLeader("no leader answered in time")

    def _is_so(self, change: Change, member: str, other: str) -> bool:
        """True where the members are already what a change would make of them."""
        there = self.members()
        found = named_member(there, other if change is Change.REPLACE and other else member)
        match change:
            case Change.REMOVE:
                return found is None
            case Change.PROMOTE:
                return found is not None and found["standing"] != "learner"
            case _:
                return found is not None

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the client is closed")
        if inside_user_code():
            raise ConfluxError("a method or reducer must not use a client: it would wait for itself")


def _endpoints_of(report: dict[str, Any]) -> list[str]:
    return [member["endpoint"] for member in report["members"] if member["endpoint"]]
