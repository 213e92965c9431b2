"""What an app's code may do to the node that runs it: nothing. And what callers may hand to one."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import conflux
from conflux.apps.list import app as list_app
from conflux.errors import ConfluxError, Diverged, MethodRejected, OptionsError, ReducerFailed
from tests.node.test_embedded import QUICK, SECONDS_MAX, Open, follower_of, perform, until

ENDINGS: list[type[BaseException]] = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]


@pytest.fixture
def open_() -> Iterator[Open]:
    made = Open()
    yield made
    made.close()


def app_that(**more: Any) -> conflux.App[Any, Any]:
    """Counts."""
    app: conflux.App[Any, Any] = conflux.App(**more)

    @app.method
    def count(state: Any) -> dict[str, Any]:
        return {"type": "count"}

    @app.reducer
    def reduce(state: Any, action: Any) -> Any:
        return (state or 0) + (action is not None)

    return app


def folding(app: conflux.App[Any, Any], first: Callable[[Any], object]) -> conflux.App[Any, Any]:
    """The same app, whose reducer does something before it folds an action."""
    count = app.reduce
    assert count is not None

    @app.reducer
    def reduce(state: Any, action: Any) -> Any:
        if action is not None:
            first(action)
        return count(state, action)

    return app


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__)
def test_what_a_method_raises_is_its_answer_whatever_it_is_and_every_node_goes_on(open_: Open, ending):
    app = app_that()

    @app.method
    def end(state: Any) -> None:
        raise ending("enough")

    nodes = open_.cluster(3, app)
    for node in nodes:
        with pytest.raises(MethodRejected, match=f"{ending.__name__}: enough"):
            perform(node, "end")
    assert perform(nodes[0], "count") == {"type": "count"}
    assert not any(node._loop.ended.is_set() for node in nodes)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__)
def test_an_exception_that_a_method_returns_is_its_answer_whatever_it_is(open_: Open, ending):
    app = app_that()
    app.methods["give"] = lambda state: ending("enough")
    (node,) = open_.cluster(1, app)
    with pytest.raises(MethodRejected, match=f"{ending.__name__}: enough"):
        perform(node, "give")


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__)
def test_what_a_reducer_raises_on_the_leader_refuses_the_call(open_: Open, ending):
    def at_the_end(action: Any) -> None:
        if action == {"type": "end"}:
            raise ending

    app = folding(app_that(), at_the_end)
    app.methods["end"] = lambda state: {"type": "end"}
    nodes = open_.cluster(3, app)
    with pytest.raises(ReducerFailed):
        perform(nodes[0], "end")
    assert perform(nodes[1], "count") == {"type": "count"}


def test_a_reducer_that_ends_the_program_on_a_follower_ends_that_followers_service_alone(open_: Open):
    victims = [""]

    def not_here(action: Any) -> None:
        if threading.current_thread().name == f"conflux-{victims[0]}":
            sys.exit("not here")

    nodes = open_.cluster(3, folding(app_that(), not_here))
    victim = follower_of(nodes)
    victims[0] = victim._node.directory.self.label
    perform(next(node for node in nodes if node is not victim), "count")

    def problem() -> str:
        return str(victim.status()["node"]["problem"])

    until(lambda: "SystemExit" in problem())
    with pytest.raises(Diverged, match="SystemExit"):
        victim.get_state("linearizable", timeout=SECONDS_MAX)


def test_a_callback_that_ends_the_program_ends_no_callbacks(open_: Open, caplog):
    (node,) = open_.cluster(1)
    told: list[Any] = []
    with caplog.at_level(logging.CRITICAL, logger="conflux.node"):
        node.subscribe(lambda committed: sys.exit())
        node.subscribe(lambda committed: told.append(committed.action["thing"]))
        for thing in ("a", "b"):
            perform(node, "append", thing)
        until(lambda: told == ["a", "b"])


@pytest.mark.parametrize("state", [{1, 2}, (1, 2), {1: "a"}], ids=repr)
def test_a_state_that_nobody_can_read_is_said_to_who_reads_it_and_in_the_status(open_: Open, state, caplog):
    app: conflux.App[Any, Any] = conflux.App()
    app.methods["spoil"] = lambda state, text: {"type": "spoil", "text": text}
    app.reduce = lambda before, action: state if action else None
    nodes = open_.cluster(3, app)
    with caplog.at_level(logging.ERROR, logger="conflux.node"):
        for _ in range(3):  # past a hash point
            perform(nodes[0], "spoil", "x" * 100_000)
        for node in nodes:
            with pytest.raises(ConfluxError, match="can't be read"):
                node.get_state("linearizable", timeout=SECONDS_MAX)
        until(lambda: all(node.status()["node"]["snapshot_problem"] for node in nodes))
    assert any("can't be kept or read" in record.message for record in caplog.records)
    assert perform(nodes[1], "spoil", "it goes on") == {"type": "spoil", "text": "it goes on"}


def test_a_method_that_is_slow_is_named(open_: Open, caplog):
    app = app_that()
    app.methods["rest"] = lambda state, seconds: time.sleep(seconds)
    (node,) = open_.cluster(1, app)
    assert node.status()["node"]["slow_code"] is None
    with caplog.at_level(logging.WARNING, logger="conflux.node"):
        perform(node, "rest", 0.06)
        perform(node, "rest", 0.09)
    slow = node.status()["node"]["slow_code"]
    assert slow["what"] == "the method 'rest'" and slow["seconds"] >= 0.09
    assert sum("the method 'rest' took" in record.message for record in caplog.records) == 1


def test_a_reducer_that_is_slow_is_named_where_it_only_folds(open_: Open):
    nodes = open_.cluster(3, folding(app_that(), lambda action: time.sleep(0.06)))
    perform(nodes[0], "count")
    follower = follower_of(nodes)
    until(lambda: follower.status()["node"]["slow_code"])
    assert "reducer" in follower.status()["node"]["slow_code"]["what"]


def test_a_node_that_could_not_run_leaves_its_directory_to_the_next(open_: Open, tmp_path):
    def never(state: Any, action: Any) -> Any:
        raise ValueError("no initial state")

    where: dict[str, Any] = {"id": "n1", "cluster_size": 1, "channel": {"name": "memory", "hub": "next"}}
    with pytest.raises(ConfluxError, match="no initial state"):
        conflux.Conflux(methods={"count": str}, reduce=never, data_dir=tmp_path, **where)
    node = open_.node(app_that(name="app"), data_dir=tmp_path, **where)
    assert perform(node, "count") == {"type": "count"}


@pytest.mark.parametrize("revision", [1.5, "1", None, True, -1, 2**70], ids=repr)
def test_what_is_no_revision_is_an_options_error_and_the_node_goes_on(open_: Open, revision):
    (node,) = open_.cluster(1)
    with pytest.raises(OptionsError, match="a revision is a whole number"):
        node.state_at(revision)
    assert perform(node, "append", "x") == {"type": "append", "thing": "x"}


def test_what_can_not_be_called_is_no_subscriber(open_: Open):
    (node,) = open_.cluster(1)
    with pytest.raises(OptionsError, match="can't be called"):
        node.subscribe(5)  # type: ignore[arg-type]


def test_a_method_can_not_close_its_node(open_: Open):
    app = app_that()
    nodes: list[conflux.Conflux] = []
    app.methods["leave"] = lambda state: nodes[0].close()
    nodes += open_.cluster(1, app)
    with pytest.raises(MethodRejected, match="must not use its node"):
        perform(nodes[0], "leave")
    assert perform(nodes[0], "count") == {"type": "count"}


def test_appended_is_told_before_committed_with_the_last_index_of_the_log(open_: Open):
    (node,) = open_.cluster(1)
    told: list[Any] = []
    node.on("appended", lambda index: told.append(("appended", index)))
    node.on("committed", lambda committed: told.append(("committed", committed.index)))
    committed = node.submit("append", "x", timeout=SECONDS_MAX).result()
    until(lambda: ("committed", committed.index) in told)
    assert told.index(("appended", committed.index)) < told.index(("committed", committed.index))


@pytest.mark.parametrize("attempt", range(5))
def test_who_closes_its_nodes_at_once_has_told_its_subscribers_of_what_was_committed(attempt):
    hub = {"name": "memory", "hub": f"at once {attempt}"}
    nodes = [conflux.Conflux(list_app, id=label, cluster_size=5, channel=hub, **QUICK) for label in "abcde"]
    told: list[Any] = []
    nodes[1].subscribe(lambda committed: told.append(nodes[1].get_state()[0]))
    nodes[0].perform("append", "foo", timeout=SECONDS_MAX)
    for node in nodes:
        node.close()
    assert told == ["foo"]
