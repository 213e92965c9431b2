"""The directory's lock where the system refuses, or says less than is wanted."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conflux.errors import AlreadyOpen, DirectoryError
from conflux.storage import lock, processes
from conflux.storage.lock import LOCK_FILE, DirectoryLock, lock_holder
from tests.storage.pids import NOBODYS_PID, needs_proc


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A lock that somebody else holds; gives the file, to be written to."""
    monkeypatch.setattr(lock, "_PID_READS_MAX", 2)
    descriptor = os.open(tmp_path / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_where_nothing_can_be_locked_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DirectoryLock.acquire(tmp_path).release()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(DirectoryError, match="can't be locked: No locks available"):
        DirectoryLock.acquire(tmp_path)
    with pytest.raises(DirectoryError, match="can't be looked at: No locks available"):
        lock_holder(tmp_path)


def test_a_lock_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to(LOCK_FILE)
    with pytest.raises(DirectoryError, match="can't be opened"):
        lock_holder(tmp_path)


def test_a_holder_that_does_not_say_who_it_is_is_still_a_holder(tmp_path: Path, foreign: int) -> None:
    with pytest.raises(DirectoryError, match="does not say in which process"):
        lock_holder(tmp_path)
    with pytest.raises(AlreadyOpen, match="open in another process"):
        DirectoryLock.acquire(tmp_path)
    os.close(foreign)


def test_a_holder_that_can_not_be_seen_from_here_is_named(tmp_path: Path, foreign: int) -> None:
    """Another container's process ids mean nothing here, but its lock does."""
    os.pwrite(foreign, b"%d\n" % NOBODYS_PID, 0)
    assert lock_holder(tmp_path) == NOBODYS_PID
    os.close(foreign)


def test_a_holder_of_another_user_lives(tmp_path: Path, foreign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError

    os.pwrite(foreign, b"%d\n" % NOBODYS_PID, 0)
    monkeypatch.setattr(os, "kill", forbidden)
    assert lock_holder(tmp_path) == NOBODYS_PID
    os.close(foreign)


@pytest.fixture
def ended(foreign: int) -> Iterator[int]:
    """The holder has ended and holds the lock all the same, as one whose other threads still end; gives its id."""
    with subprocess.Popen(["true"]) as process:
        os.pwrite(foreign, b"%d\n" % process.pid, 0)
        while not processes.is_zombie(process.pid):
            time.sleep(0.001)
        yield process.pid


@needs_proc
def test_a_holder_that_dies_is_waited_for(tmp_path: Path, foreign: int, ended: int) -> None:
    threading.Timer(0.1, os.close, [foreign]).start()
    assert lock_holder(tmp_path) is None
    DirectoryLock.acquire(tmp_path).release()


@needs_proc
def test_who_takes_the_lock_of_a_holder_that_dies_waits_for_it(tmp_path: Path, foreign: int, ended: int) -> None:
    threading.Timer(0.1, os.close, [foreign]).start()
    DirectoryLock.acquire(tmp_path).release()


@needs_proc
def test_a_holder_that_can_not_die_is_still_the_holder(
    tmp_path: Path, foreign: int, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_DYING_SECONDS_MAX", 0.01)
    assert lock_holder(tmp_path) == ended
    with pytest.raises(AlreadyOpen, match=f"open in process {ended}"):
        DirectoryLock.acquire(tmp_path)
    os.close(foreign)


def test_a_lock_that_others_only_look_at_for_ever_is_not_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_LOOKS_WAITED_FOR_MAX", 3)
    monkeypatch.setattr(lock, "_PID_READS_MAX", 2)
    looking = os.open(tmp_path / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    with pytest.raises(AlreadyOpen, match="open in another process"):
        DirectoryLock.acquire(tmp_path)
    os.close(looking)
    DirectoryLock.acquire(tmp_path).release()
