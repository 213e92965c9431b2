"""`Conflux`: a node inside the user's own program."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from conflux.app import App
from conflux.client.answer import Answer
from conflux.client.arguments import make_call, revision_of
from conflux.client.call import Result
from conflux.client.client import ReadConsistency, Wait
from conflux.client.committed import Committed
from conflux.client.finding import DEFAULT_CLUSTER
from conflux.client.watching import Watching
from conflux.errors import Closed, ConfluxError, NotApplied, NotReady, OptionsError
from conflux.node.clock import SystemClock
from conflux.node.dispatcher import Dispatcher
from conflux.node.embedding import Embedding
from conflux.node.local import LocalCaller
from conflux.node.loop import Loop
from conflux.node.past import Found
from conflux.node.status import members_of, report_of
from conflux.raft.effects import RoleChanged
from conflux.store.dumps import state_of
from conflux.store.past import PastState
from conflux.transport.interface import Channel
from conflux.transport.keys import ClusterKey
from conflux.usercode import inside_user_code

RECOVERY_LOOK_SECONDS = 0.005
CALLBACKS_SECONDS_MAX = 1.0
CATCH_UP_SECONDS_MAX = 0.3  # a node that leaves asks what was committed, if its subscribers are to hear of it
EVENTS = ("appended", "committed", "leader_elected", "rolled_back", "membership_changed")


class Conflux:
    """A node of a cluster. Its loop has a thread of its own; every method may be called from any thread.

    The constructor never waits: a cluster forms once all its nodes are there, and `perform` waits for its leader.

    Args:
        app: methods and reducer; or give `methods` and `reduce`.
        id: this node's, unique in the cluster.
        cluster_size: how many nodes form the cluster; the same on each.
        channel: "memory" between nodes of this process, "zeromq" between processes; or a dict with `name` and the
            channel's options (memory: `hub`; zeromq: `bind`, `advertise`, `insecure`); or a `Channel` of your own.
        peers: addresses of other nodes.
        data_dir: where the node's directory lies; None keeps nothing on the memory channel, else the platform's place.
        key: the cluster's key, or the file that holds it.
        archive: what is cut of the log is kept in archive/id, as `conflux start --archive` does; None keeps none of it.
            It is made at the first start that names this place: after that, it must be there.

    Raises:
        OptionsError: with everything that is wrong.
        AlreadyOpen: this id is still open in this process.
        DirectoryError: its directory or its archive can't be used: it is another node's, damaged, not there any more.
    """

    def __init__(
        self,
        app: App[Any, Any] | None = None,
        *,
        id: str | None = None,
        cluster_size: int = 0,
        methods: Mapping[str, Callable[..., Any]] | None = None,
        reduce: Callable[[Any, Any], Any] | None = None,
        channel: str | Mapping[str, Any] | Channel = "zeromq",
        cluster: str = DEFAULT_CLUSTER,
        peers: tuple[str, ...] | list[str] = (),
        data_dir: str | os.PathLike[str] | None = None,
        key: ClusterKey | str | os.PathLike[str] | None = None,
        archive: str | os.PathLike[str] | None = None,
        election_timeout_ms: tuple[int, int] = (300, 500),
        heartbeat_interval_ms: int = 50,
    ) -> None:
        app = App(methods, reduce) if app is None else app
        self._embedding = Embedding.checked(
            app,
            id,
            cluster_size,
            channel=channel,
            peers=peers,
            data_dir=data_dir,
            key=key,
            archive=archive,
            cluster=cluster,
            election_timeout_ms=election_timeout_ms,
            heartbeat_interval_ms=heartbeat_interval_ms,
        )
        self._node = self._embedding.open()
        self._app = app
        self._dispatcher = Dispatcher()
        self._caller = LocalCaller(self._node, SystemClock())
        self._loop = Loop(self._node, self._caller)
        self._closed = False
        self._listen()
        self._loop.start()

    def __enter__(self) -> Conflux:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- verbs ---------------------------------------------------------------------------------------------------

    def perform(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        wait: Wait = "committed",
    ) -> Any:
        """Perform a method on the leader, wherever it is, and wait.

        Args:
            timeout: seconds; None waits for ever.
            wait: "appended" is content once the leader has it on its disk; it may still be lost.

        Returns:
            The action once it is committed, or None where the method dispatched nothing.

        Raises:
            MethodRejected, UnknownMethod, NotApplied, OutcomeUnknown, SessionExpired: see `conflux.errors`.
        """
        return self._submit(method, args, timeout, wait).result().action

    def submit(self, method: str, *args: Any, timeout: float | None = None) -> Future[Committed]:
        """Perform a method; the future resolves when its entry is committed, or to one of the errors of `perform`."""
        return self._submit(method, args, timeout, "committed")

    def get_state(self, consistency: ReadConsistency = "local", *, timeout: float | None = None) -> Any:
        """The committed state: as this node has it, or as a majority confirms it. It is shared: don't change it."""
        self._check_usable()
        if consistency not in ("local", "linearizable"):
            raise OptionsError(f"consistency is 'local' or 'linearizable', not {consistency!r}")
        if consistency == "local":
            self._await_recovery(timeout)
            self._check_state()
            return self._node.machine.state
        return self._read_confirmed(timeout, revision_only=False)

    def state_at(self, revision: int, *, timeout: float | None = None) -> Any:
        """The state as it was at a revision: folded from a snapshot and the log, beside the live state.

        Raises:
            NotRetained: it is compacted away on this node, or not there yet.
            OptionsError: it is no revision.
        """
        self._check_usable()
        revision_of(revision)
        self._await_recovery(timeout)
        if self._node.replica is not None and revision > self._node.machine.revision:
            self._read_confirmed(timeout, revision_only=True)  # another node may be further
        future: Future[Any] = Future()

        def tell(found: Found | None) -> None:
            if found is not None:
                _settle(future, found.state if isinstance(found, PastState) else found)

        def job() -> None:
            if self._node.member is None:
                tell(NotReady(self._node.waiting_for() or "not ready"))
            else:
                self._node.member.past.ask(future, revision, tell)

        self._caller.run_soon(job)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise NotReady("the state was not folded in time") from None

    def get_provisional_state(self) -> Any:
        """The committed state with all that this node's log holds beyond it. Maybe no node ever enters it."""
        return self._in_loop(self._node.provisional_state)

    def subscribe(self, callback: Callable[[Committed], None]) -> Callable[[], None]:
        """Call `callback` with each action that is committed from now on, on a thread for callbacks.

        Returns:
            A function that ends the subscription.
        """
        return self.on("committed", callback)

    def watch(self, from_revision: int | None = None) -> Iterator[Committed]:
        """Committed actions, each once and in order, from a revision on (default: from this call on), until `close`.

        Where what comes next is compacted away on this node, first a Committed with `gap`: its `state` at its
        `revision` stands for all before, and the watch goes on behind it.
        """
        self._check_usable()
        feed = self._caller.watch(0 if from_revision is None else revision_of(from_revision))
        return Watching(feed, end=self._caller.unwatch).committed()

    def on(self, event: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call `callback` at an event.

        They are "appended" (the last index of the log on this node's disk), "committed" (a Committed), "leader_elected"
        (the leader's id), "rolled_back" (the first index that was replaced) and "membership_changed" (the members, each
        with `id`, `label` and `standing`).

        Returns:
            A function that ends that.
        """
        self._check_usable()
        if event not in EVENTS:
            raise OptionsError(f"there is no event {event!r}: there are {', '.join(EVENTS)}")
        if not callable(callback):
            raise OptionsError(f"{callback!r} can't be called")
        return self._dispatcher.on(event, callback)

    def is_leader(self) -> bool:
        """True on the leader. Two nodes may say so for a moment, in different terms."""
        return not self._closed and self._node.is_leading

    def status(self) -> dict[str, Any]:
        """This node and its cluster as it sees it: the fields of `conflux status --json` and more."""
        report: dict[str, Any] = self._in_loop(lambda: report_of(self._node))
        return report

    def close(self) -> None:
        """Leave: the loop ends and everything is given back. Calling twice is harmless.

        Subscribers are told first of all that was committed before, as far as that is known within a moment.
        """
        if inside_user_code():
            raise ConfluxError("a method or reducer must not use its node: it gets the state as its argument")
        if self._closed:
            return
        if self._dispatcher.listens("committed") and not self._dispatcher.is_mine:
            with contextlib.suppress(ConfluxError):
                self._read_confirmed(CATCH_UP_SECONDS_MAX, revision_only=True)
        self._dispatcher.close(drain_s=CALLBACKS_SECONDS_MAX)  # what was committed is told before the node is gone
        self._closed = True
        self._loop.stop(hand_over=True)
        self._loop.join()
        self._embedding.release()

    # -- inside --------------------------------------------------------------------------------------------------

    def _read_confirmed(self, timeout: float | None, *, revision_only: bool) -> Any:
        self._check_state()
        future: Future[Any] = Future()

        def job() -> None:
            self._caller.read(lambda result: _settle(future, result), future.cancelled, revision_only=revision_only)

        self._caller.run_soon(job)
        try:
            found = future.result(timeout)
        except TimeoutError:
            future.cancel()
            self._check_state()
            raise NotApplied("no leader confirmed the read in time") from None
        return found if revision_only else state_of(self._app, found)

    def _submit(self, method: str, args: tuple[Any, ...], timeout: float | None, wait: str) -> Future[Committed]:
        self._check_usable()
        answer = Answer()
        self._caller.submit(make_call(method, args, timeout, wait, answer))
        return answer

    def _await_recovery(self, timeout: float | None) -> None:
        """After a restart, let the node fold what it knew to be committed: an older state was never shown before."""
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while self._node.is_recovering and not self._loop.ended.wait(RECOVERY_LOOK_SECONDS):
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise NotReady("the node is still folding its log")

    def _in_loop(self, question: Callable[[], Any]) -> Any:
        """Ask the node something in its own thread, which alone may look at its log."""
        self._check_usable()
        future: Future[Any] = Future()

        def job() -> None:
            try:
                answer = question()
            except Exception as error:  # whatever it is belongs to the asker, not to the loop
                future.set_exception(error)
            else:
                _settle(future, answer)

        self._caller.run_soon(job)
        return future.result()

    def _check_state(self) -> None:
        """A state that isn't the cluster's is nobody's to read."""
        if self._node.replica is not None and self._node.replica.failure is not None:
            raise self._node.replica.failure

    def _check_usable(self) -> None:
        if inside_user_code():
            raise ConfluxError("a method or reducer must not use its node: it gets the state as its argument")
        if self._loop.error is not None:
            raise ConfluxError(f"the node stopped: {self._loop.error}") from self._loop.error
        if self._closed:
            raise Closed("the node is closed")

    def _listen(self) -> None:
        node, dispatcher = self._node, self._dispatcher

        def role_changed(change: RoleChanged) -> None:
            if change.leader is not None:
                dispatcher.tell("leader_elected", change.leader)

        node.on_installed = lambda machine: dispatcher.missed(machine.revision, machine.state)
        node.on_members_changed = lambda membership: dispatcher.tell("membership_changed", members_of(membership))
        node.on_applied = lambda entry, machine: dispatcher.committed(entry, machine.revision, machine.state)
        node.on_role_changed = role_changed
        node.on_appended = lambda last: dispatcher.tell("appended", last)
        node.on_truncated = lambda first: dispatcher.tell("rolled_back", first)


def _settle(future: Future[Any], result: Result | Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(result, ConfluxError):
        future.set_exception(result)
    else:
        future.set_result(result)
