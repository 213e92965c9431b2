"""Who may open a directory, and what opening leaves behind."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import lmdb
import pytest

from conflux.errors import AlreadyOpen, Damaged, DirectoryError, WrongDirectory
from conflux.storage import environment as environments
from conflux.storage.environment import DATA_FILE, JOURNAL_FILE
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.lock import DirectoryLock, lock_holder
from tests.storage.making import Processes, append, entries, run

FILES = {"data.mdb", "journal", "lock.mdb", "lock"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed new node's directory."""
    LmdbStorage.open(tmp_path / "node", create=True).close()
    return tmp_path / "node"


def test_a_new_directory_is_its_owners_alone(directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {name.name for name in directory.iterdir()} == FILES
    assert {stat.S_IMODE(name.stat().st_mode) for name in directory.iterdir()} == {0o600}


def test_an_empty_directory_is_as_good_as_none_and_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir(mode=0o755)
    LmdbStorage.open(tmp_path / "node", create=True).close()
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o700


def test_creating_where_data_stands_is_refused_and_changes_nothing(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    append(storage, entries(1, 3))
    storage.close()
    before = (directory / DATA_FILE).read_bytes()
    with pytest.raises(WrongDirectory, match="already holds"):
        LmdbStorage.open(directory, create=True)
    assert (directory / DATA_FILE).read_bytes() == before


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty directory"])
def test_opening_where_no_data_stands_is_refused_and_makes_nothing(tmp_path: Path, what: str) -> None:
    path = tmp_path / "node"
    if what == "a file":
        path.write_text("text")
    elif what == "an empty directory":
        path.mkdir()
    with pytest.raises(WrongDirectory) as caught:
        LmdbStorage.open(path, create=False)
    assert str(path) in str(caught.value)
    assert "conflux start" in caught.value.hint
    assert not path.is_dir() or not list(path.iterdir())


@pytest.mark.parametrize("name", [DATA_FILE, JOURNAL_FILE])
def test_a_creation_that_was_killed_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rename = os.rename

    def killed(source: Path, target: Path) -> None:
        if target.name == name:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(environments.os, "rename", killed)
        LmdbStorage.open(tmp_path / "node", create=True)
    assert {each.name for each in (tmp_path / "node").iterdir()} & {"unfinished", "journal.unfinished"}
    with pytest.raises(WrongDirectory):
        LmdbStorage.open(tmp_path / "node", create=False)
    LmdbStorage.open(tmp_path / "node", create=True).close()
    assert {each.name for each in (tmp_path / "node").iterdir()} == FILES


def test_an_empty_data_file_is_damage_and_not_a_new_node(tmp_path: Path) -> None:
    (tmp_path / DATA_FILE).touch()
    with pytest.raises(Damaged):
        LmdbStorage.open(tmp_path, create=False)
    assert (tmp_path / DATA_FILE).stat().st_size == 0


def test_a_file_of_another_program_is_damage(tmp_path: Path) -> None:
    (tmp_path / DATA_FILE).write_bytes(b"not LMDB" * 10_000)
    with pytest.raises(Damaged):
        LmdbStorage.open(tmp_path, create=False)


def test_an_lmdb_environment_of_another_program_is_damage(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), lib_version=0) as env, env.begin(write=True) as transaction:
        transaction.put(b"theirs", b"data")
    with pytest.raises(Damaged):
        LmdbStorage.open(tmp_path, create=False)


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryError, match="Not a directory"):
        LmdbStorage.open(tmp_path / "file" / "node", create=True)


def test_C2_the_settings_are_those_under_which_a_commit_is_synced(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    flags = storage._environment.env.flags()
    assert (flags["sync"], flags["metasync"], flags["writemap"], flags["map_async"]) == (True, True, False, False)
    assert (flags["lock"], flags["meminit"]) == (True, True)
    assert storage._environment.env.lib_version()[0] == 0
    storage.close()


def test_C8_a_second_process_is_told_at_once_who_has_it(directory: Path, processes: Processes) -> None:
    holder = run(processes, "holding", directory)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(AlreadyOpen, match=f"process {holder.pid}"):
        LmdbStorage.open(directory, create=False)
    assert lock_holder(directory) == holder.pid
    holder.communicate()
    assert lock_holder(directory) is None
    LmdbStorage.open(directory, create=False).close()


def test_C8_creating_in_a_directory_that_is_open_is_refused_too(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    with pytest.raises(DirectoryError):
        LmdbStorage.open(directory, create=True)
    storage.close()


def test_C8_the_lock_goes_with_a_killed_process(directory: Path, processes: Processes) -> None:
    holder = run(processes, "holding", directory)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock_holder(directory) is None
    LmdbStorage.open(directory, create=False).close()


def test_C9_a_second_opening_in_the_same_process_is_refused(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    with pytest.raises(AlreadyOpen, match=f"this process .{os.getpid()}"):
        LmdbStorage.open(directory, create=False)
    append(storage, entries(1, 1))  # the refusal took nothing from the owner
    assert lock_holder(directory) == os.getpid()
    storage.close()


def in_a_fork(work: object) -> int:
    """The exit status of a forked child: 0 if `work` returned True."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() is True else 2  # type: ignore[operator]
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_C10_a_forked_child_may_not_use_it_and_takes_nothing_from_its_parent(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)

    def refused() -> bool:
        uses = (
            storage.restored,
            storage.facts,
            lambda: storage.read(1, 1, 1),
            lambda: storage.record_facts({"name": b"child"}),
            lambda: append(storage, entries(1, 1)),
        )
        for use in uses:
            with pytest.raises(AlreadyOpen, match="fork"):
                use()
        storage.close()
        return True

    assert in_a_fork(refused) == 0
    assert lock_holder(directory) == os.getpid()
    append(storage, entries(1, 1))
    assert storage.facts() == {}
    storage.close()


def test_C10_a_forked_child_that_lives_on_does_not_keep_the_lock(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b"x")
        os.close(go[1])
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    storage.close()
    assert lock_holder(directory) is None
    LmdbStorage.open(directory, create=False).close()
    os.close(go[1])
    os.waitpid(pid, 0)
    for descriptor in (*ready, go[0]):
        os.close(descriptor)


def test_C12_the_slots_of_killed_readers_are_freed_at_opening(directory: Path, processes: Processes) -> None:
    storage = LmdbStorage.open(directory, create=False)
    append(storage, entries(1, 10))
    reader = run(processes, "reading", directory)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    assert str(reader.pid) in storage._environment.env.readers()
    storage.close()
    storage = LmdbStorage.open(directory, create=False)
    assert str(reader.pid) not in storage._environment.env.readers()
    storage.close()


def test_C19_what_it_takes_on_disk_is_told_and_is_not_the_size_of_the_map(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    append(storage, entries(1, 100))
    assert 0 < storage.size_on_disk() < 2**24
    storage.close()


def test_looking_at_a_lock_is_never_in_the_way_of_taking_it(tmp_path: Path, processes: Processes) -> None:
    """A look holds a shared lock for an instant: this one lasts until the other gives way to it and tries again."""
    import fcntl
    import threading

    (tmp_path / "lock").touch()
    look = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    taken: list[DirectoryLock] = []
    taker = threading.Thread(target=lambda: taken.append(DirectoryLock.acquire(tmp_path)))
    taker.start()
    os.close(look)
    taker.join()
    assert lock_holder(tmp_path) == os.getpid()
    taken[0].release()
    taken[0].release()
    assert lock_holder(tmp_path) is None


def test_nobody_holds_the_lock_of_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "nowhere") is None


def test_a_stale_pid_in_the_lock_file_is_not_a_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    assert lock_holder(tmp_path) is None


def test_the_lock_file_is_closed_on_exec(tmp_path: Path) -> None:
    lock = DirectoryLock.acquire(tmp_path)
    assert not os.get_inheritable(lock._descriptor)
    lock.release()
