"""A node's archive, `DIR/LABEL/`: what compaction cuts of its log, in files that nobody writes to any more.

    archive.json      whose it is
    FIRST-LAST.log    entries FIRST to LAST: an artefact (`artefact`) that begins with an `ArchivedLog`

Rule: a file appears under its name complete and synced, or not at all. So nothing has to be mended after a crash: what
has no name of that form was cut short, and goes when the archive is opened. Files never overlap. Where one does not
begin where the one before it ends, entries are missing: the node never had them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from conflux import limits
from conflux.errors import Damaged, DirectoryError, NewerFormat, OptionsError, WrongDirectory
from conflux.raft.invariant import invariant
from conflux.storage.archive_writer import SegmentWriter
from conflux.storage.environment import sync_directory
from conflux.storage.saved import ArchivedLog

OWNER_FILE = "archive.json"
_NAME = re.compile(r"(\d{20})-(\d{20})\.log")
_LEFTOVER = re.compile(r"\.(\d{20}-\d{20}\.log\.\d+|archive\.json|probe)")
_ELSEWHERE = "Name another place with --archive DIR, or go on without one: --no-archive."
_MISSING = "Mount its disk or put it back; to begin a new one, say --archive DIR again (in Python: another place)."
_ANOTHER = "Name another place with --archive DIR, or move this one away: what is in it stays readable."


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose archive it is."""

    cluster: str
    label: str
    identity: str


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file."""

    first_index: int
    last_index: int
    path: Path


class Archive:
    """One node's, to append to. The node's thread owns it.

    Attributes:
        last_index: of its last entry; 0 while there's none.
    """

    def __init__(self, directory: Path, segments: list[Segment]) -> None:
        """Use `open`."""
        self.directory = directory
        self.last_index = max((segment.last_index for segment in segments), default=0)

    @classmethod
    def open(cls, root: Path, owner: Owner, *, create: bool = True) -> Archive:
        """Open the archive of a node below `root`.

        Args:
            create: make it where there is none. An archive that was there may lie on a disk that isn't mounted, where
                a new one would be in nobody's way until it is.

        Raises:
            WrongDirectory: it is another node's, holds something else, or is not there.
            NewerFormat, Damaged: what says whose it is can't be read.
            DirectoryError: the system refuses.
        """
        refuse_foreign(root, owner)
        directory = root / owner.label
        with _directory_errors(directory):
            if not (directory / OWNER_FILE).exists():
                if not create:
                    raise WrongDirectory(f"the archive {directory} is not there", hint=_MISSING)
                directory.mkdir(parents=True, mode=0o700, exist_ok=True)
                _write(directory / OWNER_FILE, json.dumps({"format": limits.ARCHIVE_VERSION} | asdict(owner)))
                sync_directory(root)
            found = segments_of(directory)
            for name in os.listdir(directory):
                if _LEFTOVER.fullmatch(name):
                    (directory / name).unlink()
            _check_writable(directory)
        return cls(directory, found)

    def begin(self, header: ArchivedLog) -> SegmentWriter:
        """Begin the next file: entries behind all that are there. `add` it once it is finished."""
        invariant(header.first_index > self.last_index, "an archive holds each entry once")
        name = f"{header.first_index:020}-{header.last_index:020}.log"
        return SegmentWriter(self.directory / name, header.encoded())

    def add(self, last_index: int) -> None:
        """A file is finished."""
        invariant(last_index > self.last_index, "an archive only grows")
        self.last_index = last_index


def refuse_foreign(root: Path, owner: Owner) -> None:
    """Raise as `Archive.open` does where this node's archive can't be there. Changes nothing."""
    directory = root / owner.label
    with _directory_errors(directory):
        if not directory.exists():
            _refuse_unwritable(directory)
            return
        names = os.listdir(directory)
        _refuse_unwritable(directory / OWNER_FILE)
    if OWNER_FILE in names:
        there = owner_of(directory)
        if there != owner:
            whose = f"the node {there.label} ({there.identity[:8]}) of a cluster {there.cluster!r}"
            raise WrongDirectory(f"the archive {directory} is that of {whose}, which is not this one", hint=_ANOTHER)
    elif any(not name.startswith(".") for name in names):
        raise WrongDirectory(f"{directory} holds something else than an archive", hint=_ANOTHER)


def refuse_inside(root: Path, cluster_dir: Path) -> None:
    """Raise OptionsError where archives below `root` would go with the nodes' own directories."""
    if root.resolve().is_relative_to(cluster_dir.resolve()):
        raise OptionsError(
            f"{root} is a part of the cluster's own directory, which `conflux destroy` deletes",
            hint="Name a place of its own with --archive DIR.",
        )


def owner_of(directory: Path) -> Owner:
    """Whose archive a directory is.

    Raises:
        NewerFormat: a later version made it.
        Damaged: what says so makes no sense.
        DirectoryError: the system refuses.
    """
    path = directory / OWNER_FILE
    with _directory_errors(directory):
        text = path.read_bytes()
    try:
        fields = json.loads(text)
        version = fields.pop("format")
        if version > limits.ARCHIVE_VERSION:
            raise NewerFormat(f"{path} has format {version}; this version of Conflux reads {limits.ARCHIVE_VERSION}")
        return Owner(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} makes no sense: {error}", hint=_ANOTHER) from error


def segments_of(directory: Path) -> list[Segment]:
    """The files of an archive, in the order of their entries. Raises DirectoryError."""
    with _directory_errors(directory):
        names = os.listdir(directory)
    found = [(match, directory / name) for name in names if (match := _NAME.fullmatch(name))]
    return sorted(Segment(int(match[1]), int(match[2]), path) for match, path in found)


def _write(path: Path, text: str) -> None:
    """Whole and on disk, or not at all."""
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def _check_writable(directory: Path) -> None:
    """A file can be made here: better found out now than when the log is to be cut."""
    probe = directory / ".probe"
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with suppress(FileNotFoundError):
        probe.unlink()


def _refuse_unwritable(path: Path) -> None:
    """The nearest directory above that is there must be one in which something can be made."""
    above = next(each for each in path.parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise DirectoryError(f"no archive can be kept in {above}: it can't be written to", hint=_ELSEWHERE)


@contextmanager
def _directory_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DirectoryError(
            f"the archive {directory} can't be used: {error.strerror or error}", hint=_ANOTHER
        ) from error
