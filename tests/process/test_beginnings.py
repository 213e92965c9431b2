"""The table of beginnings (docs/reference/beginnings.md), a row each: the line, the status, and what is left alone."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from conflux.node.launcher import LAUNCH_LOCK
from tests.process.cluster import Cluster, Ran, conflux
from tests.process.rows import row

APP = """
import conflux

app = conflux.App(name="fragile")

@app.method
def add(state, word):
    if word == "no":
        raise ValueError("the method says no")
    return {"type": "add", "word": word}

@app.reducer
def reduce(state, action):
    state = [] if state is None else state
    if action is None:
        return state
    if action["word"] == "poison":
        raise RuntimeError("the reducer can't")
    return [*state, action["word"]]
"""


def fingerprint(directory: Path) -> dict[str, str]:
    """Content of every file that counts: logs, facts, keys, manifests."""
    names = ("data.mdb", "cluster.json", "cluster.key")
    files = [path for path in sorted(directory.rglob("*")) if path.name in names]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(data_dir: Path, *options: str) -> Ran:
    return conflux("start", "--detach", *options, data_dir=data_dir)


def assert_refused(ran: Ran, status: int, *words: str) -> None:
    assert ran.status == status, (ran.status, ran.err)
    assert len(ran.err.splitlines()) == 1 and "Traceback" not in ran.err, ran.err
    assert ran.out == ""
    for word in words:
        assert word in ran.err, ran.err


def assert_one_left_out(ran: Ran, label: str, *words: str) -> None:
    """The others start; one line says why this one doesn't."""
    assert ran.status == 0, ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith(label)]
    assert len(lines) == 1, ran.err
    assert not any(line.startswith(label) for line in ran.out.splitlines())
    for word in words:
        assert word in lines[0], ran.err


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a cluster of three has formed, holds one thing, and is stopped: it takes seconds, so it is made once."""
    cluster = Cluster(tmp_path_factory.mktemp("formed"), 3)
    try:
        cluster.start()
        assert cluster.run("perform", "append", "kept").status == 0
        cluster.await_equal()
        assert cluster.run("stop").status == 0
        yield cluster.data_dir
    finally:
        cluster.close()


@pytest.fixture
def three(formed: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A copy of it: whatever a test does to it, it does to its own."""
    cluster = Cluster(tmp_path / "copy", 3)
    shutil.copytree(formed, cluster.data_dir)
    yield cluster
    cluster.close()


@row("nothing, and no `--cluster-size`")
def test_nothing_there_and_no_size(tmp_path: Path) -> None:
    assert_refused(start(tmp_path / "new"), 2, "--cluster-size")
    assert not (tmp_path / "new").exists()


@row("nothing", "all nodes run")
def test_all_running(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(3)
    before = (cluster.data_dir / "conflux" / "cluster.json").read_bytes()
    assert_refused(start(cluster.data_dir), 1, "already running", "conflux stop")
    assert (cluster.data_dir / "conflux" / "cluster.json").read_bytes() == before


@row("all directories, nothing runs")
def test_again_without_the_size(three: Cluster) -> None:
    assert start(three.data_dir).status == 0
    assert three.state() == ["kept"]


@row("another `--cluster-size` than at formation", "another `--app` than at formation")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cluster-size", "5"), ("formed with 3 nodes, not 5",)),
        (("--app", "conflux.apps.other:app"), ("formed with the app", "not conflux.apps.other:app")),
    ],
)
def test_another_size_or_app_changes_nothing(three: Cluster, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    before = fingerprint(three.data_dir)
    assert_refused(start(three.data_dir, *options), 1, *words)
    assert fingerprint(three.data_dir) == before


@row("a node's directory is missing or empty, and the cluster has formed")
def test_a_directory_is_missing(three: Cluster) -> None:
    shutil.rmtree(three.data_dir / "conflux" / "n2")
    assert_one_left_out(start(three.data_dir), "n2", "missing", "voted")
    assert not (three.data_dir / "conflux" / "n2").exists()
    assert three.run("perform", "append", "more").status == 0


def test_a_directory_is_wiped(three: Cluster) -> None:
    for path in (three.data_dir / "conflux" / "n2").iterdir():
        path.unlink()
    assert_one_left_out(start(three.data_dir), "n2", "empty", "voted")
    assert not list((three.data_dir / "conflux" / "n2").glob("*.mdb"))


@row("a directory is damaged: a flipped byte, a cut file")
def test_a_flipped_byte(three: Cluster) -> None:
    data = three.data_dir / "conflux" / "n2" / "data.mdb"
    content = data.read_bytes()
    assert b"kept" in content
    content = content.replace(b"kept", b"kapt")  # in every copy: pages that are free hold old ones
    data.write_bytes(content)
    ran = start(three.data_dir)
    assert_one_left_out(ran, "n2", "entry")
    assert data.read_bytes() == content
    assert three.state() == ["kept"]


@row("a directory is of another cluster or node")
def test_c14_a_directory_of_another_cluster(three: Cluster, start_cluster: Callable[..., Cluster]) -> None:
    other = start_cluster(3)
    other.run("stop")
    place = three.data_dir / "conflux" / "n2"
    shutil.rmtree(place)
    shutil.copytree(other.data_dir / "conflux" / "n2", place)
    before = (place / "data.mdb").read_bytes()
    assert_one_left_out(start(three.data_dir), "n2", "another node")
    assert (place / "data.mdb").read_bytes() == before


def test_c15_two_directories_were_mixed_up(three: Cluster) -> None:
    root = three.data_dir / "conflux"
    (root / "n1").rename(root / "aside")
    (root / "n2").rename(root / "n1")
    (root / "aside").rename(root / "n2")
    ran = start(three.data_dir)
    assert ran.status in (0, 4)
    assert len([line for line in ran.err.splitlines() if line.startswith(("n1", "n2"))]) == 2, ran.err


@row("a directory was written by a later version")
def test_c16_a_directory_of_a_newer_format(three: Cluster) -> None:
    place = three.data_dir / "conflux" / "n2"
    raise_format_version(place)
    before = (place / "data.mdb").read_bytes()
    assert_one_left_out(start(three.data_dir), "n2", "format 99")
    assert (place / "data.mdb").read_bytes() == before


def raise_format_version(directory: Path) -> None:
    """Rewrite the hard state's head as a later version of Conflux would: magic, another number, and its checksum."""
    with lmdb.open(str(directory), max_dbs=8) as environment, environment.begin(write=True) as transaction:
        database = environment.open_db(b"meta", transaction, create=False)
        key, value = next(iter(transaction.cursor(database)))
        head = struct.pack(">8sI", value[:8], 99)
        transaction.put(key, head + struct.pack(">I", zlib.crc32(head)) + value[16:], db=database)


@row("nodes' directories without `cluster.json`")
def test_no_manifest(three: Cluster) -> None:
    (three.data_dir / "conflux" / "cluster.json").unlink()
    before = fingerprint(three.data_dir)
    assert_refused(start(three.data_dir, "--cluster-size", "3"), 1, "no cluster.json")
    assert fingerprint(three.data_dir) == before


@row("a remembered port is taken")
def test_a_remembered_port_is_taken(three: Cluster) -> None:
    nodes = json.loads((three.data_dir / "conflux" / "cluster.json").read_text())["nodes"]
    host, _, port = nodes[0]["address"].rpartition(":")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whatever of its last connections lingers
        squatter.bind((host, int(port)))
        squatter.listen()
        assert start(three.data_dir).status == 0
        assert three.state() == ["kept"]
        three.run("stop")


@row("a port that was asked for with `--bind` is taken")
def test_a_port_that_was_asked_for_is_taken(tmp_path: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        ran = start(tmp_path / "new", "--cluster-size", "1", "--bind", f"127.0.0.1:{port}")
    assert_refused(ran, 1, f"port {port}", "taken")
    assert not (tmp_path / "new").exists()


@row("the app can't be imported, or can't run")
def test_an_app_that_can_not_be_imported(tmp_path: Path) -> None:
    assert_refused(start(tmp_path / "new", "--cluster-size", "1", "--app", "nowhere:app"), 1, "nowhere:app")
    assert not (tmp_path / "new").exists()


@row("all directories, some nodes run")
def test_some_run(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(3)
    assert cluster.run("stop", "--id", "n2").status == 0
    ran = start(cluster.data_dir)
    assert ran.status == 0, ran.err
    assert [line.split()[0] for line in ran.out.splitlines()] == ["n2"]


@row("the same before the cluster has formed (a first start was cut short)")
def test_a_first_start_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    place = tmp_path / "new" / "conflux"
    assert start(tmp_path / "new", "--cluster-size", "3", "--timeout", "0.001").status in (0, 4)
    conflux("stop", data_dir=tmp_path / "new")
    for label in ("n1", "n2", "n3"):  # as if none of them had come so far
        shutil.rmtree(place / label)
    assert start(tmp_path / "new").status == 0
    conflux("stop", data_dir=tmp_path / "new")


@row("a `cluster.key` that others can read, or that is no key any more")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda key: key.chmod(0o644), ("Other users can read the key file", "chmod 600")),
        (lambda key: key.write_text(key.read_text()[:-9]), ("holds no cluster key",)),
    ],
)
def test_the_clusters_key_can_not_be_used(three: Cluster, spoil: Callable[[Path], object], words: list[str]) -> None:
    key = three.data_dir / "conflux" / "cluster.key"
    spoil(key)
    before = fingerprint(three.data_dir)
    assert_refused(start(three.data_dir), 2, str(key), *words)
    assert fingerprint(three.data_dir) == before


@row("no node can be started")
def test_no_node_can_be_started(three: Cluster) -> None:
    for label in ("n1", "n2", "n3"):
        raise_format_version(three.data_dir / "conflux" / label)
    before = fingerprint(three.data_dir)
    assert_refused(start(three.data_dir), 1, "format 99")
    assert fingerprint(three.data_dir) == before


@row("another `conflux start` is at work there")
def test_another_start_is_at_work(tmp_path: Path) -> None:
    place = tmp_path / "new" / "conflux"
    place.mkdir(parents=True)
    with open(place / LAUNCH_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = start(tmp_path / "new", "--cluster-size", "1")
    line = f"another `conflux start` is at work in {place}. Wait for it, then see `conflux status`."
    assert_refused(ran, 1, line)


def test_a_method_and_a_reducer_that_raise_on_the_leader(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(APP)
    cluster = start_cluster(3, "--app", "fragile:app", "--app-dir", str(tmp_path))
    assert_refused(cluster.run("perform", "add", "no"), 5, "the method says no")
    assert_refused(cluster.run("perform", "add", "poison"), 5, "the reducer can't")
    assert_refused(cluster.run("perform", "subtract", "x"), 5, "no method 'subtract'")
    assert_refused(cluster.run("perform", "add"), 5, "add")
    assert cluster.run("perform", "add", "fine").status == 0
    assert cluster.state() == ["fine"]
    cluster.await_equal()
