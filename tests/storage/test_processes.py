"""Whether another process is there, and whether it is on its way out."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from conflux.storage import processes
from conflux.storage.processes import exists, is_dying, is_zombie
from tests.storage.pids import NOBODYS_PID, needs_proc


def test_one_that_lives_and_one_that_is_not_there() -> None:
    assert exists(os.getpid()) and not is_zombie(os.getpid()) and not is_dying(os.getpid())
    assert not exists(NOBODYS_PID) and not is_zombie(NOBODYS_PID) and not is_dying(NOBODYS_PID)


@needs_proc
def test_one_that_has_ended_is_there_until_its_parent_looks() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert exists(process.pid) and is_zombie(process.pid) and is_dying(process.pid)
    assert not exists(process.pid) and not is_dying(process.pid)


@pytest.mark.parametrize(
    ("pending", "dies"),
    [
        ({}, False),
        ({"ShdPnd": "0000000000000100"}, True),
        ({"SigPnd": "0000000000000100"}, True),
        ({"ShdPnd": "0000000000004000"}, False),  # SIGTERM, which it may take its time for
    ],
)
def test_one_that_was_killed_dies_though_it_has_not_come_to_that(
    pending: dict[str, str], dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_status", lambda _pid: {"State": "D (disk sleep)", **pending})
    assert is_dying(1) is dies and not is_zombie(1)
