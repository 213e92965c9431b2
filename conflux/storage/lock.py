"""The directory's lock: one process, and one storage in it, has a node's directory open.

LMDB would let a second process open the same files and then block for ever on its write lock. So the owner holds
`flock` on DIRECTORY/lock, and everybody else is told at once who that is. The kernel frees the lock with the
process, however that ends; the file stays.

`lock_holder` looks by asking for a *shared* lock for an instant. An owner that finds the lock taken can therefore
tell a look (shared) from another owner (exclusive), and tries again only for the former.

A process that was killed holds its lock until the last of its threads has ended, which takes milliseconds, on a busy
machine tens of them. It is an owner no more, so it is waited for.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from pathlib import Path

from conflux.errors import AlreadyOpen, DirectoryError
from conflux.storage import processes

LOCK_FILE = "lock"
_LOOKS_WAITED_FOR_MAX = 200
_PID_READS_MAX = 200
_PAUSE_SECONDS = 0.002
_PID_BYTES_MAX = 20
_DYING_SECONDS_MAX = 2.0  # a disk that does not answer can keep one for ever


class DirectoryLock:
    """Held from `acquire` to `release`, or to the end of the process."""

    def __init__(self, descriptor: int) -> None:
        """Use `acquire`."""
        self._descriptor = descriptor
        _held.add(self)

    @classmethod
    def acquire(cls, directory: Path) -> DirectoryLock:
        """Take the lock of an existing directory and write this process's id into it.

        Raises:
            AlreadyOpen: another process, or this one, holds it; the message names the process.
            DirectoryError: the lock file can't be made or locked there.
        """
        descriptor = _open(directory, os.O_RDWR | os.O_CREAT)
        deadline_s = time.monotonic() + _DYING_SECONDS_MAX
        try:
            while not _locked_exclusively(descriptor):
                pid = _holder_pid(descriptor)
                if not _is_letting_go(pid, deadline_s):
                    raise _already_open(directory, pid)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            os.close(descriptor)
            raise DirectoryError(f"{directory / LOCK_FILE} can't be locked: {error.strerror}") from error
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Free the lock. Calling twice is harmless."""
        # Closing, not LOCK_UN: in a forked child that would take the lock from the parent, whose lock it is.
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_holder(directory: Path) -> int | None:
    """The id of the process that has the directory open, or None if none has. Changes nothing.

    Raises:
        DirectoryError: the lock file can't be read, or its holder can't be told.
    """
    try:
        descriptor = _open(directory, os.O_RDONLY)
    except DirectoryError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    deadline_s = time.monotonic() + _DYING_SECONDS_MAX
    try:
        while not _locked(descriptor, fcntl.LOCK_SH):
            pid = _holder_pid(descriptor)
            if pid is None:
                raise DirectoryError(f"{directory} is open, but its lock does not say in which process")
            if not _is_letting_go(pid, deadline_s):
                return pid
    except OSError as error:
        raise DirectoryError(f"{directory / LOCK_FILE} can't be looked at: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return None


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked child shares the lock: without this it would keep it when the node is long dead."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)


def _open(directory: Path, flags: int) -> int:
    try:
        return os.open(directory / LOCK_FILE, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DirectoryError(f"{directory / LOCK_FILE} can't be opened: {error.strerror}") from error


def _locked_exclusively(descriptor: int) -> bool:
    for _ in range(_LOOKS_WAITED_FOR_MAX):
        if _locked(descriptor, fcntl.LOCK_EX):
            return True
        if not _locked(descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # only somebody's look was in the way
        time.sleep(_PAUSE_SECONDS)
    return False


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_pid(descriptor: int) -> int | None:
    """The holder writes its id just after it got the lock: until then the file is empty, or names one that died."""
    pid = None
    for _ in range(_PID_READS_MAX):
        text = os.pread(descriptor, _PID_BYTES_MAX, 0)
        pid = int(text) if text.endswith(b"\n") and text.strip().isdigit() else None
        if pid is not None and processes.exists(pid):
            return pid
        time.sleep(_PAUSE_SECONDS)
    return pid  # not visible from here: another container's


def _is_letting_go(pid: int | None, deadline_s: float) -> bool:
    """True, after a pause, where the holder is dying and there is time to wait for it."""
    if pid is None or not processes.is_dying(pid) or time.monotonic() >= deadline_s:
        return False
    time.sleep(_PAUSE_SECONDS)
    return True


def _already_open(directory: Path, pid: int | None) -> AlreadyOpen:
    if pid == os.getpid():
        return AlreadyOpen(f"{directory} is already open in this process ({pid})", hint="Close it first.")
    who = "another process" if pid is None else f"process {pid}"
    return AlreadyOpen(f"{directory} is open in {who}", hint="Stop that node first, or name another directory.")
