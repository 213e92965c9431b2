"""Other processes of this machine, by their ids: whether one is there, and whether it is on its way out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_KILL = 1 << (signal.SIGKILL - 1)


def exists(pid: int) -> bool:
    """True for a zombie, too: one that has ended, and whose parent has not looked yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_zombie(pid: int) -> bool:
    """True where its first thread has ended. Others of its threads may hold its files and locks for some milliseconds.

    False where there is no /proc, as on macOS.
    """
    return _state(_status(pid)) in ("Z", "X")


def is_dying(pid: int) -> bool:
    """True where it has ended, or a SIGKILL has been sent to it: it does nothing more, and lets go of what it holds.

    False where there is no /proc, as on macOS.
    """
    status = _status(pid)
    return _state(status) in ("Z", "X") or any(int(status.get(name, "0"), 16) & _KILL for name in ("SigPnd", "ShdPnd"))


def _state(status: dict[str, str]) -> str:
    return status.get("State", "")[:1]


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
