"""How a command ends that a signal ends."""

from __future__ import annotations

import signal

from conflux.errors import ConfluxError

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM came."""


class Interrupted(ConfluxError):
    """A signal ended a command, and there is something to say of what it had begun."""

    exit_status = INTERRUPTED

    def __init__(self, message: str = "", *, hint: str | None = None, exit_status: int = INTERRUPTED) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status
