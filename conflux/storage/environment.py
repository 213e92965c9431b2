"""Opening and making the LMDB environment of a node: the one file that knows LMDB's settings and its errors.

LMDB trusts its own pages: a truncated file is a SIGBUS, a flipped bit in a page of its tree may lead it anywhere. So
`refuse_damage` has py-lmdb's offline verifier, which never maps the file, look at every page in use first: bounds,
order of keys, counters, the parity of the two meta pages. What it can't see, the checksums of `layout` do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import lmdb.verify

from conflux.errors import AlreadyOpen, Damaged, DirectoryError, WrongDirectory
from conflux.storage import layout, meta_pages
from conflux.storage.layout import HardState

DATA_FILE = "data.mdb"
JOURNAL_FILE = "journal"
_UNFINISHED = "unfinished"
_CREATION_MAP_BYTES = 1024 * 1024
_BYTES_PER_BLOCK = 512  # the unit of st_blocks, by POSIX habit
ENGINE_0_9 = 0  # py-lmdb bundles two engines with mutually unreadable files; other tools read this one's


@dataclass(frozen=True, slots=True)
class Environment:
    """An open LMDB environment with its three sub-databases."""

    env: lmdb.Environment
    log: lmdb._Database
    meta: lmdb._Database
    facts: lmdb._Database


def create_environment(directory: Path) -> None:
    """Make the data file of a new node. It appears under its name complete, or not at all."""
    unfinished = directory / _UNFINISHED
    with directory_errors(directory):
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a creation that was killed
        unfinished.mkdir(mode=0o700)
        env = lmdb.open(
            str(unfinished), map_size=_CREATION_MAP_BYTES, max_dbs=3, mode=0o600, create=False, lib_version=ENGINE_0_9
        )
        try:
            _write_first_state(env)
        finally:
            env.close()
        os.rename(unfinished / DATA_FILE, directory / DATA_FILE)
        shutil.rmtree(unfinished)
        sync_directory(directory)


def open_environment(directory: Path, *, map_bytes: int, readonly: bool) -> Environment:
    """Open what `create_environment` made.

    Raises:
        AlreadyOpen: this process has it open.
        Damaged: LMDB doesn't recognise it.
        DirectoryError: the system refuses.
    """
    with directory_errors(directory):
        env = lmdb.open(
            str(directory),
            map_size=map_bytes,
            readonly=readonly,
            metasync=True,
            sync=True,
            writemap=False,  # a full disk would be a SIGBUS
            meminit=True,
            mode=0o600,
            create=False,
            max_dbs=3,
            max_spare_txns=0 if readonly else 1,
            lock=True,
        )
        try:
            env.reader_check()  # slots of killed readers would keep old pages alive for ever
            log, meta, facts = (env.open_db(name, create=False) for name in (layout.LOG, layout.META, layout.FACTS))
            for database in (log, meta, facts):
                if any(database.flags().values()):
                    raise Damaged(f"{directory / DATA_FILE}: a sub-database has flags that none was made with")
        except BaseException:
            env.close()
            raise
    return Environment(env, log, meta, facts)


def require_data(directory: Path) -> None:
    """Raise WrongDirectory unless a node's data stands there."""
    hint = "Check the path; `conflux start` makes a new node's directory."
    with directory_errors(directory):
        if not directory.is_dir():
            raise WrongDirectory(f"{directory} is no directory", hint=hint)
        if not holds_data(directory):
            raise WrongDirectory(f"{directory} holds no node's data ({DATA_FILE} is missing)", hint=hint)


def holds_data(directory: Path) -> bool:
    """Whether a node's data file stands there, in whatever state."""
    return (directory / DATA_FILE).exists()


def refuse_damage(directory: Path) -> None:
    """Raise Damaged if the data file, at rest, isn't sound. Nobody may be writing to it."""
    try:
        data_file = str(directory / DATA_FILE)
        findings: list[str] = lmdb.verify.verify(data_file, subdir=False)  # type: ignore[no-untyped-call]  # no stubs
        findings = [finding for finding in findings if "a leak" not in finding]  # lost space, not lost data
        findings += meta_pages.findings(directory / DATA_FILE)
    except OSError as error:
        raise _refused(directory, error) from error
    # The verifier computes with what it reads, so a damaged number can raise anything.
    except Exception as error:
        raise Damaged(f"{directory / DATA_FILE}: {error}") from error
    if findings:
        raise Damaged(f"{directory / DATA_FILE}: {findings[0]} ({len(findings)} such findings)")


def read_hard_state(environment: Environment, transaction: lmdb.Transaction[Any]) -> HardState:
    """The hard state that LMDB holds; raises NewerFormat and Damaged."""
    value = transaction.get(layout.HARD_STATE, db=environment.meta)
    if value is None:
        raise Damaged("hard_state (term, vote, commit index) is missing")
    return layout.decode_hard_state(bytes(value))


def last_log_index(environment: Environment, transaction: lmdb.Transaction[Any], hard: HardState) -> int:
    """Where the log in LMDB ends, whatever still stands before its beginning; raises Damaged."""
    with transaction.cursor(environment.log) as cursor:
        if not cursor.first():
            return hard.snapshot_index
        first = layout.entry_position(cursor.key())
    last = first + transaction.stat(environment.log)["entries"] - 1
    if last < hard.base_position:
        raise Damaged(f"the log ends at {last - hard.log_offset}, but a snapshot stands at {hard.snapshot_index}")
    return int(last - hard.log_offset)


def read_facts(environment: Environment, transaction: lmdb.Transaction[bytes]) -> dict[str, bytes]:
    """The facts on disk; raises Damaged naming the one that is."""
    return dict(layout.decode_fact(key, value) for key, value in transaction.cursor(environment.facts))


def size_on_disk(directory: Path) -> int:
    """Bytes that the data really takes: the file is sparse to some tools, and part of it is reserve."""
    return sum(os.stat(directory / name).st_blocks for name in (DATA_FILE, JOURNAL_FILE)) * _BYTES_PER_BLOCK


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def error_number(error: lmdb.Error) -> int:
    """An errno, one of LMDB's own negative codes, or 0 where py-lmdb itself complains and gives none."""
    return int(getattr(error, "code", 0))


@contextmanager
def directory_errors(directory: Path) -> Iterator[None]:
    """Turn what the system and LMDB raise about a directory into the tree of `conflux.errors`."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise _refused(directory, error) from error


def _refused(directory: Path, error: lmdb.Error | OSError) -> DirectoryError:
    if isinstance(error, OSError):
        return DirectoryError(f"{directory} can't be used: {error.strerror or error}")
    if "already open in this process" in str(error):
        return AlreadyOpen(f"{directory} is already open in this process", hint="Close it first.")
    if error_number(error) >= 0 or isinstance(
        error, lmdb.ReadersFullError
    ):  # errno is positive, LMDB's own codes negative
        return DirectoryError(f"{directory} can't be used: {error}")
    return Damaged(f"{directory / DATA_FILE}: {error}")


def _write_first_state(env: lmdb.Environment) -> None:
    with env.begin(write=True) as transaction:
        for name in (layout.LOG, layout.FACTS):
            env.open_db(name, txn=transaction)
        meta = env.open_db(layout.META, txn=transaction)
        first = HardState(journal_epoch=1)  # the journal is there already
        transaction.put(layout.HARD_STATE, layout.encode_hard_state(first), db=meta)
