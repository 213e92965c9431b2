"""`stop`, and which node `stop` and `start` are told to look at."""

from __future__ import annotations

from tests.cli.conftest import is_node
from tests.cli.running import POWERLESS, Ran, conflux, needs_powerless


def test_a_node_is_stopped_and_started_by_its_label_or_the_beginning_of_its_id(new_cluster):
    cluster = new_cluster(3)
    beginning = cluster.nodes["n2"]["id"][:12]
    assert cluster.run("stop", "--id", beginning) == Ran(0, "Stopped n2.\n", "")
    ran = cluster.run("start", "--id", beginning, "--detach", "--json")
    assert ran.status == 0 and [row["label"] for row in ran.lines] == ["n2"], ran.err
    cluster.nodes["n2"] = ran.lines[0]
    assert cluster.run("stop", "--id", "n2", "--json").json == {"stopped": ["n2"]}
    assert cluster.run("stop", "--id", "n2") == Ran(0, "", "n2 of the cluster 'conflux' does not run here.\n")
    assert cluster.run("stop", "--id", "n2", "-q") == Ran(0, "", "")
    for command in ("stop", "start"):
        ran = cluster.run(command, "--id", "n9")
        assert (ran.status, ran.out) == (2, "") and "there is no node 'n9': there are n1 (" in ran.err
    assert cluster.run("stop", "--json").json == {"stopped": ["n1", "n3"]}


def test_where_no_node_is_known_none_runs(tmp_path):
    where = {"CONFLUX_DATA_DIR": str(tmp_path / "new")}
    assert conflux("stop", **where) == Ran(0, "", "Nothing of the cluster 'conflux' runs here.\n")
    assert conflux("stop", "--id", "n1", **where) == Ran(0, "", "n1 of the cluster 'conflux' does not run here.\n")
    assert conflux("stop", "--json", **where).json == {"stopped": []}
    assert not (tmp_path / "new").exists()


@needs_powerless
def test_a_directory_that_may_not_be_read_is_said_and_nothing_is_stopped(new_cluster):
    cluster = new_cluster(1)
    lock = cluster.directory / "theirs" / "lock"
    lock.parent.mkdir()
    lock.touch()
    lock.parent.chmod(0)
    try:
        ran = cluster.run("stop", before=POWERLESS)
        said = f"error: {lock}: Permission denied. Only its owner may: ls -ld {lock} {lock.parent}\n"
        assert ran == Ran(1, "", said)
        assert is_node(cluster.nodes["n1"]["pid"])
    finally:
        lock.parent.chmod(0o700)
    assert cluster.run("stop", before=POWERLESS) == Ran(0, "Stopped n1.\n", "")
