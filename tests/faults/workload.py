"""Concurrent clients that note what they ask and what they are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from conflux import Client
from conflux.errors import ConfluxError, MethodRejected, NotApplied, OutcomeUnknown, SessionExpired, Unreachable
from tests.faults.history import LINEARIZABLE, LOCAL, Operation, Outcome

CLIENTS_MAX = 8
PAUSE_SECONDS = 0.01
WEIGHTS = {"append": 50, "append_to_even": 14, "append_but_at_thirds": 14, LINEARIZABLE: 14, LOCAL: 8}
PATIENCE_SECONDS = (1.0, 2.0, 6.0, 20.0)  # one client each, over and over: some give up in the middle of an outage
JOIN_SECONDS = 60.0


class Load:
    """Clients, a thread each, from `with` until `end`.

    Args:
        enter: called with its number in each client's thread before it connects, e.g. to go into a namespace.
        padding: bytes beside each value.
        options: of each `conflux.Client`; a function gives them by the client's number.
    """

    def __init__(
        self,
        *,
        clients: int = 4,
        seed: int = 0,
        name: str = "c",
        padding: int = 0,
        pause_s: float = PAUSE_SECONDS,
        patience_s: Sequence[float] = PATIENCE_SECONDS,
        weights: dict[str, int] | None = None,
        enter: Callable[[int], None] = lambda number: None,
        options: Callable[[int], dict[str, Any]],
    ) -> None:
        assert 0 < clients <= CLIENTS_MAX
        self._clients = [
            _Client(f"{name}{number}", number, Random(f"{seed} {name} {number}"), padding, pause_s, enter, options)
            for number in range(clients)
        ]
        for number, client in enumerate(self._clients):
            client.patience_s = patience_s[number % len(patience_s)]
            client.weights = weights or WEIGHTS

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    @property
    def operations(self) -> list[Operation]:
        """All so far, by client."""
        return [operation for client in self._clients for operation in [*client.operations]]

    def acknowledged(self) -> int:
        """How many calls were answered by the cluster."""
        return sum(client.acknowledged for client in self._clients)

    def await_more(self, count: int, seconds: float = 60.0) -> None:
        """Until so many more calls are answered."""
        goal, deadline_s = self.acknowledged() + count, time.monotonic() + seconds
        while self.acknowledged() < goal:
            assert time.monotonic() < deadline_s, f"{goal - self.acknowledged()} of {count} answers are missing"
            time.sleep(0.005)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody begins anything in this block."""
        for client in self._clients:
            client.may_go_on.clear()
        try:
            yield
        finally:
            for client in self._clients:
                client.may_go_on.set()

    def end(self) -> list[Operation]:
        """Let each client finish what it is at; gives all operations. Calling twice is harmless."""
        for client in self._clients:
            client.ended.set()
            client.may_go_on.set()
        for client in self._clients:
            client.join(JOIN_SECONDS)
            assert not client.is_alive(), "a client hangs"
        return self.operations


def load_on(data_dir: Path, **options: Any) -> Load:
    """A load on a cluster of this machine."""
    return Load(options=lambda number: {"data_dir": data_dir}, **options)


class _Client(threading.Thread):
    """One client: one operation after the other."""

    def __init__(
        self,
        name: str,
        number: int,
        random: Random,
        padding: int,
        pause_s: float,
        enter: Callable[[int], None],
        options: Callable[[int], dict[str, Any]],
    ) -> None:
        super().__init__(name=f"client-{name}", daemon=True)
        self.operations: list[Operation] = []
        self.acknowledged = 0
        self.ended = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.patience_s = PATIENCE_SECONDS[0]
        self.weights = WEIGHTS
        self._label = name
        self._number = number
        self._random = random
        self._padding = padding
        self._pause_s = pause_s
        self._enter = enter
        self._options = options

    def run(self) -> None:
        self._enter(self._number)
        with Client(**self._options(self._number)) as client:
            while not self.ended.is_set():
                [what] = self._random.choices([*self.weights], [*self.weights.values()])
                self._perform(client, what)
                self.ended.wait(self._pause_s)
                self.may_go_on.wait()

    def _perform(self, client: Client, what: str) -> None:
        is_call = what not in (LINEARIZABLE, LOCAL)
        number = len(self.operations)
        value = f"{self._label}-{number}" if is_call else ""
        operation = Operation(self._label, number, what, value, time.monotonic())
        self.operations.append(operation)
        perform(client, operation, self.patience_s, padding="." * self._padding)
        self.acknowledged += operation.outcome in (Outcome.APPENDED, Outcome.NOTHING, Outcome.REJECTED)


def perform(client: Client, operation: Operation, seconds: float, *, padding: str = "") -> None:
    """Carry an operation out and note what came of it."""
    try:
        if operation.what == LINEARIZABLE:
            state = client.get_state("linearizable", timeout=seconds)
        elif operation.what == LOCAL:
            state = client.get_state("local", timeout=seconds)
        else:
            action = client.perform(operation.what, operation.value, *([padding] if padding else []), timeout=seconds)
            state = None
        returned_s = time.monotonic()
        if state is not None:
            operation.outcome, operation.length, operation.chain = Outcome.READ, state["length"], state["chain"]
        else:
            operation.outcome = Outcome.NOTHING if action is None else Outcome.APPENDED
            if action is not None and action["value"] != operation.value:
                operation.outcome, operation.text = Outcome.BROKEN, f"another call's answer: {action['value']}"
        operation.returned_s = returned_s
    except ConfluxError as error:
        operation.outcome, operation.text = _outcome(operation, error), str(error).removeprefix("ValueError: ")
        if operation.outcome in (Outcome.REJECTED, Outcome.NOT_APPLIED):
            operation.returned_s = time.monotonic()
    except Exception as error:
        operation.outcome, operation.text = Outcome.BROKEN, f"{type(error).__name__}: {error}"


def _outcome(operation: Operation, error: ConfluxError) -> Outcome:
    if operation.what in (LINEARIZABLE, LOCAL):
        return Outcome.FAILED if isinstance(error, (NotApplied, Unreachable)) else Outcome.BROKEN
    if isinstance(error, MethodRejected):
        return Outcome.REJECTED
    if isinstance(error, (NotApplied, Unreachable)):
        return Outcome.NOT_APPLIED
    return Outcome.UNKNOWN if isinstance(error, (OutcomeUnknown, SessionExpired)) else Outcome.BROKEN
