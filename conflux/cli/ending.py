"""How a command ends that a signal ends."""

from __future__ import annotations

import signal

from conflux.errors import ConfluxError

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM came."""


class Interrupted(ConfluxError):
    """A signal ended a command, and there is something to say about what it had begun."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(f"interrupted: {message}", hint=hint)
        self.exit_status = status
