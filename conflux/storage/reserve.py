"""Room on the disk, asked for before a transaction begins.

LMDB writes its pages inside commit: a full disk shows itself there, with an error that doesn't tell the write from
the sync that follows, and an error of a sync is final (what the kernel dropped, it reports once). So the file is
kept longer than what is in use, its blocks allocated: no space is then an error of `posix_fallocate`, with nothing
written, and the same write may be tried again.

Where there's no `posix_fallocate` (macOS) nothing is reserved, and a full disk stops the node.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from conflux.errors import DiskFull, StorageFailed
from conflux.limits import KIB, MIB

RESERVE_BYTES = 4 * MIB
_SLACK_BYTES = 256 * KIB  # the tree's upper pages, and the list of free ones
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}


class Reserve:
    """The allocated end of a data file."""

    def __init__(self, data_file: Path, map_bytes: int) -> None:
        """Open the file a second time, only to lengthen it."""
        self._descriptor = os.open(data_file, os.O_RDWR | os.O_CLOEXEC)
        self._map_bytes = map_bytes
        self._size = 0  # of the file, when it was looked at last: it never gets shorter
        self._supported = hasattr(os, "posix_fallocate")

    def require(self, used_bytes: int, write_bytes: int) -> bool:
        """See that the file is allocated for one more write. False: up to the end of the map, and that may not do.

        Args:
            used_bytes: where LMDB's pages end.
            write_bytes: of keys, values, and pages that are to be copied.

        Raises:
            DiskFull: there's no room. Nothing was changed.
            StorageFailed: the disk refuses for another reason.
        """
        # Twice: a value just over half a page takes a whole one. A 256th: free pages are listed with 8 bytes each.
        needed = 2 * write_bytes + _SLACK_BYTES + used_bytes // 256
        fits = used_bytes + needed <= self._map_bytes
        if not self._supported or self._allocated(used_bytes + needed):
            return fits
        try:
            try:
                self._allocate(used_bytes + max(needed, RESERVE_BYTES))
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                self._allocate(used_bytes + needed)
        except OSError as error:
            self._refuse(error, needed)
        return fits

    def close(self) -> None:
        """Close the file. What is reserved stays reserved."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _allocated(self, end: int) -> bool:
        # Never beyond the map: LMDB can't use it, and finds room among its free pages or says that the map is full.
        end = min(end, self._map_bytes)
        if self._size < end:
            self._size = os.fstat(self._descriptor).st_size
        return self._size >= end

    def _allocate(self, end: int) -> None:
        size = os.fstat(self._descriptor).st_size
        os.posix_fallocate(self._descriptor, size, min(end, self._map_bytes) - size)

    def _refuse(self, error: OSError, needed: int) -> None:
        if error.errno in _NOT_SUPPORTED:
            self._supported = False
        elif error.errno in _NO_SPACE:
            raise DiskFull(f"no space left on the disk: {needed} bytes are needed") from error
        else:
            raise StorageFailed(f"no room could be reserved on the disk: {error.strerror}") from error
