"""Every error that Conflux raises, in one tree.

    ConfluxError
    ├── OptionsError            the options are wrong: all of them are listed
    ├── MalformedValue          a value that Conflux does not carry (see `conflux.wire.values`)
    ├── NotApplied              the request never entered a log
    │   ├── NoLeader            no leader in time
    │   ├── Busy                refused before the log; nothing is lost by trying again
    │   └── NotReady            the cluster does not serve yet
    ├── MethodRejected          the method, or the reducer on the leader, refused the request
    │   ├── UnknownMethod       the app has no such method
    │   └── ReducerFailed       the reducer raised on the leader
    ├── OutcomeUnknown          time-out after sending: it may or may not commit
    ├── SessionExpired          the session's answers are gone
    ├── ChangeRefused           the cluster doesn't change its members like that
    ├── Unreachable             no node answers
    ├── NotRetained             a revision whose state can't be worked out here
    ├── Closed                  used after `close()`
    ├── DirectoryError          a node's directory can't be used
    │   ├── AlreadyOpen         another process (or this one) has it open
    │   ├── NewerFormat         written by a later version of Conflux
    │   ├── Damaged             what is on disk isn't what was written
    │   │   └── SnapshotDamaged     a snapshot is; the log isn't
    │   └── WrongDirectory      it belongs to another cluster, node, size or app
    ├── StorageFailed           the disk refused; `fatal` says whether the node must exit
    │   └── DiskFull            no space left: the same write may be tried again
    ├── Diverged                this node's state isn't the cluster's
    └── MalformedFrame          bytes from the network that are no message of ours

Each class carries `exit_status` (what the command line returns), `retryable` (may the same call be
made again as it is?) and `hint` (one line that says what to do).
"""

from __future__ import annotations


class ConfluxError(Exception):
    """The root of the tree."""

    exit_status = 1
    retryable = False
    hint = ""

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class OptionsError(ConfluxError):
    """The options are wrong; the message lists every one that is."""

    exit_status = 2


class MalformedValue(ConfluxError):
    """A value that Conflux does not carry: refused before it reaches the log."""

    exit_status = 2
    hint = "Actions and arguments are JSON values: str keys, finite floats, 64-bit integers, at most 32 deep."


class NotApplied(ConfluxError):
    """The request never entered a log, or was overtaken by another term's entry at its index."""

    exit_status = 4
    retryable = True
    hint = "Nothing was changed: try again."


class NoLeader(NotApplied):
    """No leader was found in time."""

    hint = "A majority of the nodes must be up: see `conflux status`."


class Busy(NotApplied):
    """The node has as much waiting as it takes."""

    hint = "Nothing was changed: try again a little later."


class NotReady(NotApplied):
    """The cluster does not serve yet."""

    hint = "See `conflux status` for who is missing."


class MethodRejected(ConfluxError):
    """The method refused the request; the method's own exception is the cause."""

    exit_status = 5


class UnknownMethod(MethodRejected):
    """The app has no such method."""


class ReducerFailed(MethodRejected):
    """The reducer raised on the leader, so the action was refused before it entered the log."""


class OutcomeUnknown(ConfluxError):
    """Time-out after sending: the request may or may not commit."""

    exit_status = 6
    retryable = True
    hint = "Look at the state before you repeat it."


class SessionExpired(ConfluxError):
    """The session is gone, and with it the answers it kept."""

    exit_status = 6
    hint = "Look at the state: a repeat would be a new request."


class ChangeRefused(ConfluxError):
    """The cluster doesn't change its members like that; nothing was changed."""

    hint = "See `conflux members list`."


class Unreachable(ConfluxError):
    """No node answers."""

    exit_status = 3
    retryable = True
    hint = "Start the cluster with `conflux start`, or name a node with --endpoint."


class NotRetained(ConfluxError):
    """A revision whose state can't be worked out: compacted away, or not there yet."""


class Closed(ConfluxError):
    """Used after `close()`."""


class DirectoryError(ConfluxError):
    """A node's directory can't be used."""


class AlreadyOpen(DirectoryError):
    """Another process, or this one, has the directory open."""


class NewerFormat(DirectoryError):
    """The directory was written by a later version of Conflux."""

    hint = "Use the version of Conflux that wrote it, or a later one."


class Damaged(DirectoryError):
    """What is on disk isn't what was written."""

    hint = "The node does not serve with it. The others hold the data: keep the directory for a look, do not edit it."


class SnapshotDamaged(Damaged):
    """A snapshot isn't what was written. An older one with the log after it, or another node's, is as good."""


class WrongDirectory(DirectoryError):
    """The directory belongs to another cluster, node, size or app."""


class StorageFailed(ConfluxError):
    """The disk refused a write or a sync. The node exits: a failed sync is never tried again."""

    hint = "See the kernel's log for the disk."


class DiskFull(StorageFailed):
    """No space left, or the map is full; nothing was written. The same write may be tried again."""

    retryable = True
    hint = "Free some space: the node goes on by itself."


class Diverged(ConfluxError):
    """This node's state isn't the one that the cluster agreed on."""

    hint = "A reducer must be a pure function of state and action: no clock, no random, no mutation."

    def __init__(
        self,
        message: str = "",
        *,
        since_revision: int = 0,
        revision: int = 0,
        raised: bool = False,
        hint: str | None = None,
    ) -> None:
        """`since_revision`: all was well there; `revision`: there it was not; `raised`: since the reducer raised."""
        super().__init__(message, hint=hint)
        self.since_revision = since_revision
        self.revision = revision
        self.raised = raised


class MalformedFrame(ConfluxError):
    """Bytes from the network that are no message of ours."""
