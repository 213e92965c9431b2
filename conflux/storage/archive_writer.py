"""One file of an archive, written beside a running node.

The node's loop hands blocks over and never waits for the disk: a thread of its own checksums, writes and syncs them.
That thread touches nothing but its file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

from conflux import limits
from conflux.errors import ConfluxError
from conflux.storage.artefact import HEADER, ArtefactWriter


class SegmentWriter:
    """Takes the blocks of one file, in order. It ends with `finish` or `abandon`.

    Args:
        path: the name under which it appears, complete and synced, once it is finished.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self._path = path
        self._blocks: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()
        self._given_bytes = 0
        self._written_bytes = 0  # the thread's
        self._is_abandoned = False
        self._failure: ConfluxError | None = None
        self._thread = threading.Thread(target=self._attempt, name="conflux-archive", daemon=True)
        self.write(HEADER, header)
        self._thread.start()

    @property
    def is_behind(self) -> bool:
        """True while much of what was given isn't written: who can wait with the next block, does."""
        return self._given_bytes - self._written_bytes > limits.ARCHIVE_UNWRITTEN_BYTES_MAX

    @property
    def is_over(self) -> bool:
        """True once `finish` returns at once, or raises: when it is finished, or failed before."""
        return not self._thread.is_alive()

    def write(self, type_: int, content: bytes) -> None:
        """Append a block."""
        self._given_bytes += len(content)
        self._blocks.put((type_, content))

    def start_finish(self) -> None:
        """All is given."""
        self._blocks.put(None)

    def finish(self) -> None:
        """Wait until it is durable under its name, which `start_finish` began.

        Raises:
            ConfluxError: it can't be written; there is no such file.
        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Give it up, without waiting for the disk: it has left nothing once it `is_over`. Harmless twice."""
        self._is_abandoned = True
        self._blocks.put(None)

    def wait(self) -> None:
        """Wait until it is over."""
        self._thread.join()

    # In the background.

    def _attempt(self) -> None:
        try:
            self._write_all()
        except ConfluxError as error:
            self._failure = error

    def _write_all(self) -> None:
        # No file of that name is finished, or nobody would write it: what is replaced is at most the very same.
        with ArtefactWriter(self._path, force=True) as writer:
            while (block := self._blocks.get()) is not None:
                if self._is_abandoned:
                    return
                writer.write(*block)
                self._written_bytes += len(block[1])
            if not self._is_abandoned:
                writer.finish()
