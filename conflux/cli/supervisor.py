"""What `start` does once the nodes run: it watches them, shows them, and stops them when it is told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from conflux.client.client import Client
from conflux.errors import ConfluxError, NotApplied, Unreachable
from conflux.node.launcher import Launched, Launcher

LOOK_SECONDS = 0.5
STATUS_SECONDS = 0.4
HEARD_SECONDS_MAX = 2.0
HEARD_STATUS_SECONDS = 0.1
PAUSE_SECONDS = 0.05


class View(Protocol):
    """Shows a cluster as it changes."""

    def show(self, reports: list[dict[str, Any]]) -> None:
        """The nodes' reports as of now."""
        ...

    def say(self, line: str) -> None:
        """Something happened."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class Stopped(Exception):
    """A signal asked to stop: its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """A signal to end becomes `Stopped` at the next look; a second one kills the nodes, a third one this process."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._asked: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def check(self) -> None:
        """Raise `Stopped` where a signal came."""
        if self._asked:
            raise Stopped(self._asked[0])

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked.append(number)
        if len(self._asked) > 1:
            self._launcher.kill()
        if len(self._asked) > 2:
            os._exit(128 + number)


def wait_until_ready(client: Client, deadline_s: float, check: Callable[[], None]) -> bool:
    """Wait for a linearizable read to succeed. False where none did in time."""
    while time.monotonic() < deadline_s:
        check()
        try:
            client.get_revision("linearizable", timeout=min(0.5, deadline_s - time.monotonic()))
            return True
        except (NotApplied, Unreachable):
            continue
    return False


def wait_until_heard(client: Client, labels: set[str], check: Callable[[], None]) -> None:
    """Give nodes that were just started a moment to hear from the leader: `status` shows them as they will be."""
    deadline_s = time.monotonic() + HEARD_SECONDS_MAX
    while time.monotonic() < deadline_s:
        check()
        reports = client.status(timeout=HEARD_STATUS_SECONDS)
        if labels <= {each["node"]["label"] for each in reports if each["node"]["problem"] != "no leader"}:
            return
        time.sleep(PAUSE_SECONDS)


def supervise(launcher: Launcher, client: Client, view: View, check: Callable[[], None], *, restart: bool) -> None:
    """Show the cluster until `check` raises, or every node of this launcher has ended.

    A node that ended by itself is said once; it is started again only with `restart`, and only if it died: one that was
    stopped stays so.
    """
    next_look_s = 0.0
    alive = [*launcher.nodes]
    while alive:
        check()
        for node in [*alive]:
            if node.process.poll() is not None and not _revive(launcher, node, view, check, restart=restart):
                alive.remove(node)
        now_s = time.monotonic()
        if now_s >= next_look_s:
            next_look_s = now_s + LOOK_SECONDS
            view.show(client.status(timeout=STATUS_SECONDS))
        time.sleep(PAUSE_SECONDS)
    check()  # they may have ended since it was asked for
    view.say("All nodes started here have ended.")
    if any(node.process.returncode for node in launcher.nodes):
        raise ConfluxError("not all of them were stopped", hint="Their log files say why: conflux logs.")


def _revive(launcher: Launcher, node: Launched, view: View, check: Callable[[], None], *, restart: bool) -> bool:
    status = node.process.returncode
    if status == 0:
        view.say(f"{node.label} was stopped.")
        return False
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    if not restart:
        view.say(f"{node.label} {how}; see {node.row()['log_file']}. Start it again with the same `conflux start`.")
        return False
    view.say(f"{node.label} {how}; it is started again.")
    try:
        launcher.respawn(node, check)
    except ConfluxError as error:
        view.say(f"{node.label} can't be started again: {error}")
        return False
    return True
