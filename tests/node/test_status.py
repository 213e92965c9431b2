"""What a node tells of itself: hashes of large states, the end of its log file, who takes whose place."""

from __future__ import annotations

from pathlib import Path

from conflux.node import state_hashes, status
from conflux.node.state_hashes import StateHashes
from conflux.node.status import LOG_TEXT_BYTES_MAX, end_of_log
from conflux.wire.clients import AskLog, Change, LogText
from tests.node.harness import World
from tests.node.test_members import change
from tests.node.test_snapshots import grow


def test_the_last_lines_of_a_log_file_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "node.log"
    file.write_text("first\nlast\n")
    assert end_of_log(str(file)) == "first\nlast\n"
    file.write_text("x" * LOG_TEXT_BYTES_MAX + "\nlast\n")
    assert end_of_log(str(file)) == "last\n"


def test_a_node_without_a_log_file_or_with_one_that_is_gone_says_so(tmp_path: Path) -> None:
    assert end_of_log(None) == ""
    assert end_of_log(str(tmp_path / "gone")) == "the log file can't be read: No such file or directory\n"


def test_a_client_is_told_the_end_of_the_log(tmp_path: Path) -> None:
    world = World(1)
    node = world.leader()
    (tmp_path / "node.log").write_text("it leads\n")
    node.log_file = str(tmp_path / "node.log")
    assert world.user().ask(AskLog(1), LogText) == LogText(1, "a", "it leads\n")


def test_a_large_state_is_hashed_when_the_node_is_idle() -> None:
    world = World(1)
    grow(world.user(), calls=40)
    machine, hashes = world.leader().machine, StateHashes(world.app)
    assert machine.hash_point.bytes_total + machine.bytes_since_hash_point > state_hashes.HASH_AT_ONCE_BYTES
    assert hashes.of(machine) is machine.hash_point
    hashes.begin(machine)
    while hashes.has_work:
        hashes.work()
    hashes.work()  # nothing is left to do
    assert hashes.of(machine).revision == machine.revision


def test_a_replacement_that_is_under_way_is_told() -> None:
    world = World(3)
    user = world.user()
    world.isolate(gone := next(label for label, node in world.nodes.items() if node is not world.leader()))
    world.join("d")
    world.run(1.0)
    assert status.report_of(world.leader())["replacing"] is None
    change(user, Change.REPLACE, gone, "d")
    world.until(lambda: status.report_of(world.leader())["replacing"] is not None, 20)
