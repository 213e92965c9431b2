"""A file that is carried away: blocks with checksums, and a checksum of the whole at its end.

    head    "conflux\\0", format version u32, crc32 of the two. These 16 bytes keep their place in every later format
    block   type u8, length u32, crc32 u32 of number, type and content; then the content
    end     a block of type 255: BLAKE2b-256 of all bytes before it. Nothing follows

It appears under its name complete and synced, or not at all. Who reads it knows at its end that it is whole.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from zlib import crc32

from conflux import limits
from conflux.errors import ConfluxError, Damaged, NewerFormat

HEADER, CHUNK, ENTRY, END = 1, 2, 3, 255  # types of blocks
WHOLE_BYTES = 32
_MAGIC = b"conflux\0"
_HEAD = struct.Struct(">8sI")
_CHECKSUM = struct.Struct(">I")
_BLOCK = struct.Struct(">BII")
_COVERED = struct.Struct(">QB")  # number and type, which a block's checksum covers too
OTHER_COPY = "Use another copy of the file."


class ArtefactWriter:
    """Writes one. Leave its `with` without `finish`, and there is none.

    Raises:
        ConfluxError: the file is there already and `force` isn't given, or the system refuses.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self._path = path
        self._force = force
        self._number = 0
        self._hasher = hashlib.blake2b(digest_size=WHOLE_BYTES)
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        if not force and path.exists():
            raise there_already(path)
        with _file_errors(path):
            descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "wb")
        head = _HEAD.pack(_MAGIC, limits.ARTEFACT_VERSION)
        self._put(head + _CHECKSUM.pack(crc32(head)))

    def __enter__(self) -> ArtefactWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # of what is still to be written where there is no room
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink()

    def write(self, type_: int, content: bytes) -> None:
        """Append a block."""
        checksum = crc32(content, crc32(_COVERED.pack(self._number, type_)))
        self._put(_BLOCK.pack(type_, len(content), checksum))
        self._put(content)
        self._number += 1

    def finish(self) -> None:
        """All is written: put it under its name, durable."""
        self.write(END, self._hasher.digest())
        with _file_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self._force:
                os.replace(self._temporary, self._path)
            else:
                _link(self._temporary, self._path)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _put(self, data: bytes) -> None:
        with _file_errors(self._path):
            self._file.write(data)
        self._hasher.update(data)


def read_blocks(path: Path) -> Generator[tuple[int, bytes], None, None]:
    """(type, content) of each block but the end, in order. Only who came to the end knows that the file is whole.

    Raises:
        ConfluxError: it can't be opened.
        NewerFormat: a later version wrote it.
        Damaged: it isn't what was written, or isn't all of it.
    """
    with _file_errors(path), open(path, "rb") as file:
        head = file.read(_HEAD.size + _CHECKSUM.size)
        _check_head(path, head)
        hasher = hashlib.blake2b(head, digest_size=WHOLE_BYTES)
        number, type_ = 0, 0
        while type_ != END:
            whole = hasher.digest()
            type_, content = _read_block(path, file, number, hasher)
            if type_ != END:
                yield type_, content
            elif content != whole:
                raise Damaged(f"{path} does not match its checksum", hint=OTHER_COPY)
            number += 1
        if file.read(1):
            raise Damaged(f"{path} goes on behind its end", hint=OTHER_COPY)


def _read_block(path: Path, file: BinaryIO, number: int, hasher: hashlib.blake2b) -> tuple[int, bytes]:
    begin = file.read(_BLOCK.size)
    if len(begin) < _BLOCK.size:
        raise Damaged(f"{path} is cut short", hint=OTHER_COPY)
    type_, length, checksum = _BLOCK.unpack(begin)
    content = file.read(length) if length <= limits.ARTEFACT_BLOCK_BYTES_MAX else b""
    if len(content) < length <= limits.ARTEFACT_BLOCK_BYTES_MAX:
        raise Damaged(f"{path} is cut short", hint=OTHER_COPY)
    if len(content) != length or checksum != crc32(content, crc32(_COVERED.pack(number, type_))):
        raise Damaged(f"{path} is damaged: block {number} does not match its checksum", hint=OTHER_COPY)
    hasher.update(begin)
    hasher.update(content)
    return type_, content


def _check_head(path: Path, head: bytes) -> None:
    if len(head) < _HEAD.size + _CHECKSUM.size or not head.startswith(_MAGIC):
        raise Damaged(f"{path} was not written by Conflux", hint="Name a file that a `conflux` command wrote.")
    _, version = _HEAD.unpack_from(head)
    if _CHECKSUM.unpack_from(head, _HEAD.size)[0] != crc32(head[: _HEAD.size]):
        raise Damaged(f"{path} is damaged: its head does not match its checksum", hint=OTHER_COPY)
    if version > limits.ARTEFACT_VERSION:
        raise NewerFormat(f"{path} has format {version}; this version of Conflux reads {limits.ARTEFACT_VERSION}")


def _link(temporary: Path, path: Path) -> None:
    """Under its name, unless that is there already; then rename would take its place."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise there_already(path) from None


def there_already(path: Path) -> ConfluxError:
    """The error where a file would be written over."""
    return ConfluxError(f"{path} is there already", hint="Name another file, or write over it with --force.")


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfluxError(f"{path}: {error.strerror or error}") from error
