"""`conflux.Conflux` as its users meet it: real threads, real time. Nothing is timed: what must come is waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import conflux
from conflux.apps.list import app as list_app
from conflux.errors import (
    AlreadyOpen,
    Closed,
    ConfluxError,
    Diverged,
    MalformedValue,
    MethodRejected,
    NoLeader,
    NotApplied,
    NotReady,
    NotRetained,
    OptionsError,
    OutcomeUnknown,
    ReducerFailed,
    UnknownMethod,
    WrongDirectory,
)
from conflux.node import formation
from conflux.transport.memory import MemoryChannel, MemoryHub
from tests.node.test_dispatcher import Gate, Listener

SECONDS_MAX = 20.0
QUICK: dict[str, Any] = {"election_timeout_ms": (100, 200), "heartbeat_interval_ms": 20}
_hubs = count()


def until(condition: Callable[[], Any]) -> Any:
    """Wait until something is so; gives what it is."""
    deadline_s = time.monotonic() + SECONDS_MAX
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come"
        threading.Event().wait(0.005)
    return found


class Open:
    """Opens nodes, and closes all of them in the end."""

    def __init__(self) -> None:
        self.nodes: list[conflux.Conflux] = []

    def node(self, app: conflux.App[Any, Any] = list_app, **options: Any) -> conflux.Conflux:
        node = conflux.Conflux(app, **QUICK | options)
        self.nodes.append(node)
        return node

    def cluster(self, size: int = 3, app: conflux.App[Any, Any] = list_app, **options: Any) -> list[conflux.Conflux]:
        """A cluster in a hub of its own, once it serves."""
        hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
        nodes = [self.node(app, id=label, cluster_size=size, channel=hub, **options) for label in "abcdefghi"[:size]]
        leader_of(nodes)
        return nodes

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@pytest.fixture
def open_() -> Iterator[Open]:
    made = Open()
    yield made
    made.close()


def leader_of(nodes: list[conflux.Conflux]) -> conflux.Conflux:
    leader: conflux.Conflux = until(lambda: next((node for node in nodes if node.is_leader()), None))
    return leader


def follower_of(nodes: list[conflux.Conflux]) -> conflux.Conflux:
    leader = leader_of(nodes)
    return next(node for node in nodes if node is not leader)


def diverged_of(nodes: list[conflux.Conflux]) -> conflux.Conflux:
    """The node that says so. One without a leader is unhealthy too, for a moment."""

    def find() -> conflux.Conflux | None:
        return next((node for node in nodes if "revision 1" in (node.status()["node"]["problem"] or "")), None)

    victim: conflux.Conflux = until(find)
    return victim


def perform(node: conflux.Conflux, method: str, *args: Any) -> Any:
    return node.perform(method, *args, timeout=SECONDS_MAX)


# ---- What the contract says ----


def test_d2_the_example_of_the_contract_prints_what_it_says(capsys):
    app: conflux.App[Any, Any] = conflux.App()

    @app.method
    def append(state: Any, thing: Any) -> Any:
        return {"type": "append", "thing": thing}

    @app.reducer
    def reduce(state: Any, action: Any) -> Any:
        state = [] if state is None else state
        return [*state, action["thing"]] if action and action["type"] == "append" else state

    printed: list[str] = []
    nodes = [conflux.Conflux(app, id=label, cluster_size=5, channel="memory") for label in "abcde"]
    nodes[1].subscribe(lambda committed: print(nodes[1].get_state()))
    assert nodes[0].perform("append", "foo", timeout=SECONDS_MAX) == {"type": "append", "thing": "foo"}
    until(lambda: printed.append(capsys.readouterr().out) or "".join(printed) == "['foo']\n")
    for node in nodes:
        node.close()


def test_d2_who_closes_a_node_has_heard_of_all_that_it_had_committed(open_):
    (node,) = open_.cluster(1)
    gate, listener = Gate(), Listener()
    node.subscribe(gate)
    node.subscribe(listener)
    perform(node, "append", 1)
    perform(node, "append", 2)
    closer = threading.Thread(target=node.close)
    closer.start()
    closer.join(0.5)  # it may wait for its subscribers, or not
    gate.open.set()
    closer.join(SECONDS_MAX)
    node._dispatcher._thread.join(SECONDS_MAX)
    assert [committed.revision for committed in listener.told] == [1, 2]


def test_perform_gives_the_action_and_none_where_nothing_was_dispatched(open_):
    nodes = open_.cluster()
    for node in nodes:
        assert perform(node, "append", "x") == {"type": "append", "thing": "x"}
    assert perform(nodes[0], "clear") == {"type": "clear"}
    assert perform(nodes[0], "clear") is None


def test_d3_success_means_that_a_majority_has_it_committed(open_):
    nodes = open_.cluster()
    perform(follower_of(nodes), "append", "x")
    assert list(leader_of(nodes).get_state()) == ["x"]
    until(lambda: all(list(node.get_state()) == ["x"] for node in nodes))


def test_submit_gives_all_that_is_known_of_a_commit(open_):
    (node,) = open_.cluster(1)
    first, second = node.submit("append", "x"), node.submit("append", "y")
    committed = second.result(SECONDS_MAX)
    assert (committed.revision, committed.method, committed.action["thing"]) == (2, "append", "y")
    assert first.result(SECONDS_MAX).index <= committed.index and committed.term == 1
    assert committed.time.tzinfo is not None and committed.time.year > 2000


def test_what_one_thread_submits_is_applied_in_its_order(open_):
    nodes = open_.cluster()
    follower = follower_of(nodes)  # one: what two of them are told is in no order
    futures = [follower.submit("append", number) for number in range(300)]
    revisions = [future.result(SECONDS_MAX).revision for future in futures]
    assert revisions == list(range(1, 301))
    assert list(leader_of(nodes).get_state()) == list(range(300))


def test_many_threads_may_perform_at_once(open_):
    nodes = open_.cluster()
    threads = [threading.Thread(target=perform, args=(nodes[n % 3], "append", n)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert sorted(nodes[0].get_state("linearizable", timeout=SECONDS_MAX)) == list(range(30))


def test_a_linearizable_read_sees_what_was_performed_anywhere(open_):
    nodes = open_.cluster()
    for number, node in enumerate(nodes):
        perform(node, "append", number)
        assert all(number in other.get_state("linearizable", timeout=SECONDS_MAX) for other in nodes)


def test_a_state_larger_than_a_frame_is_read_whole(open_):
    nodes = open_.cluster()
    large = "x" * 200_000
    for _ in range(8):
        perform(nodes[0], "append", large)
    assert list(follower_of(nodes).get_state("linearizable", timeout=SECONDS_MAX)) == [large] * 8


def test_the_provisional_state_of_the_leader_is_at_hand(open_):
    nodes = open_.cluster()
    perform(nodes[0], "append", "x")
    assert list(leader_of(nodes).get_provisional_state()) == ["x"]
    until(lambda: list(follower_of(nodes).get_provisional_state()) == ["x"])


def test_who_waits_only_for_the_leaders_disk_is_told_without_a_revision(open_):
    nodes = open_.cluster()
    for node in nodes:
        assert node.perform("append", "x", timeout=SECONDS_MAX, wait="appended") == {"type": "append", "thing": "x"}
    until(lambda: len(nodes[0].get_state()) == 3)


def test_a_large_argument_does_not_stop_the_cluster(open_):
    (node,) = open_.cluster(1)
    perform(node, "append", [{"a": 1}] * 60_000)  # takes milliseconds


# ---- Rejections and mistakes ----


class OutOfStock(Exception):
    pass


def shop() -> conflux.App[Any, Any]:
    app: conflux.App[Any, Any] = conflux.App(name="shop")

    @app.method
    def buy(state: Any) -> Any:
        raise OutOfStock("none left")

    @app.method
    def check(state: Any) -> Any:
        return ValueError("bad")

    @app.method
    def explode(state: Any) -> Any:
        return "explode"

    @app.reducer
    def reduce(state: Any, action: Any) -> Any:
        if action == "explode":
            raise KeyError("gone")
        return 0

    return app


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_rejection_carries_the_methods_own_exception_from_every_node(open_, place):
    node = open_.cluster(3, shop())[place]
    with pytest.raises(MethodRejected, match="OutOfStock: none left") as caught:
        perform(node, "buy")
    assert type(caught.value.__cause__).__name__ == "OutOfStock"
    with pytest.raises(MethodRejected) as caught:
        perform(node, "check")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ReducerFailed, match="KeyError"):
        perform(node, "explode")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_unknown_method_and_bad_arguments_are_told_at_once(open_, place):
    node = open_.cluster(3)[place]
    with pytest.raises(UnknownMethod, match="no method 'sing': the app has append, clear, remove"):
        perform(node, "sing")
    with pytest.raises(MethodRejected, match="append: missing a required argument"):
        perform(node, "append")
    assert perform(node, "append", "x")["thing"] == "x"


@pytest.mark.parametrize(
    "args", [("append", (1, 2)), ("append", {1: 2}), ("append", float("nan")), ("append", b"x"), ("", 1), ("m" * 300,)]
)
def test_arguments_that_are_no_json_values_are_refused_where_they_are_given(open_, args):
    (node,) = open_.cluster(1)
    with pytest.raises(MalformedValue):
        node.perform(*args)


def test_a_method_or_reducer_that_uses_its_node_is_refused(open_):
    app: conflux.App[Any, Any] = conflux.App()
    asked: list[str] = []

    @app.method
    def act(state: Any) -> Any:
        for use in (
            lambda: node.perform("act"),
            lambda: node.submit("act"),
            node.get_state,
            node.status,
            lambda: node.subscribe(print),
        ):
            try:
                use()
            except ConfluxError as error:
                asked.append(str(error))
        return node.perform("act")

    app.reducer(lambda state, action: 0)
    (node,) = open_.cluster(1, app)
    with pytest.raises(MethodRejected, match="must not use its node"):
        perform(node, "act")
    assert len(asked) == 5


def test_bad_options_are_one_error_that_lists_all(open_):
    with pytest.raises(OptionsError) as caught:
        conflux.Conflux(conflux.App(), channel="pigeon", cluster="NO", election_timeout_ms=(5, 1))
    text = str(caught.value)
    assert text.startswith("Invalid options: ")
    for part in (
        '"id" is required',
        '"cluster_size" is required',
        "no reducer",
        "no method",
        "'pigeon'",
        "'NO'",
        "5:1",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"channel": {"name": "memory", "colour": 1}}, "channel memory has no option colour"),
        ({"channel": {}}, "channel None is unknown"),
        ({"id": "a b"}, "id 'a b' must match"),
        ({"cluster_size": 10}, "cluster size 10 must be 1 to 9"),
        ({"cluster_size": -1}, "cluster size -1"),
        ({"channel": None}, "channel 'None' is unknown"),
        ({"peers": "127.0.0.1:7420"}, '"peers" must be a list of addresses'),
        ({"peers": [7]}, '"peers" must be a list of addresses'),
        ({"channel": "zeromq", "peers": ["rubbish"]}, "'rubbish' is not an address"),
        ({"channel": "zeromq", "peers": ["0.0.0.0:7420"]}, "nobody can dial the peer 0.0.0.0:7420"),
        ({"data_dir": 5}, '"data_dir" must be a path'),
        ({"app": ["append"]}, '"app" must be a conflux.App'),
        ({"app": conflux.App({"f": str}, max, name=5)}, "the app's name must be a str"),  # type: ignore[arg-type]
        ({"app": conflux.App({5: str}, max)}, "each method's name must be a str"),  # type: ignore[dict-item]
    ],
)
def test_an_option_that_is_wrong_is_named(options, problem):
    with pytest.raises(OptionsError, match=problem):
        conflux.Conflux(**{"app": list_app, "id": "a", "cluster_size": 1, "channel": "memory"} | options)


@pytest.mark.parametrize(
    "options",
    [{"cluster_size": "3"}, {"id": 5}, {"id": ""}, {"election_timeout_ms": 300}, {"heartbeat_interval_ms": "5"}],
)
def test_an_option_of_a_wrong_type_is_an_options_error_like_any_other(options, open_):
    with pytest.raises(OptionsError):
        open_.node(**{"id": "a", "cluster_size": 1, "channel": {"name": "memory", "hub": "types"}} | options)


def test_methods_and_a_reducer_make_an_app(open_):
    hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
    node = conflux.Conflux(
        methods={"act": lambda state: "go"}, reduce=lambda s, a: (s or 0) + bool(a), id="a", cluster_size=1, channel=hub
    )
    open_.nodes.append(node)
    assert perform(node, "act") == "go" and node.get_state() == 1


def test_the_same_id_twice_is_an_error_until_the_first_is_closed(open_):
    hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
    first = open_.node(id="a", cluster_size=3, channel=hub)
    with pytest.raises(AlreadyOpen, match="'a' is still open in this process"):
        open_.node(id="a", cluster_size=3, channel=hub)
    first.close()
    open_.node(id="a", cluster_size=3, channel=hub)


def test_a_node_that_could_not_be_opened_leaves_its_id_free(open_):
    hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
    bad: conflux.App[Any, Any] = conflux.App({"act": print}, lambda state, action: {1, 2})
    with pytest.raises(ConfluxError, match="initial state can't be kept"):
        open_.node(bad, id="a", cluster_size=1, channel=hub)
    assert perform(open_.node(id="a", cluster_size=1, channel=hub), "append", 1)


# ---- Subscribing ----


def test_every_subscriber_is_told_each_commit_once_in_order_on_every_node(open_):
    nodes = open_.cluster()
    listeners = [Listener() for _ in nodes]
    for node, listener in zip(nodes, listeners, strict=True):
        node.subscribe(listener)
    for number in range(20):
        perform(nodes[number % 3], "append", number)
    perform(nodes[0], "remove", 5)
    for listener in listeners:
        told = listener.wait(21)
        assert [committed.revision for committed in told] == list(range(1, 22))
        assert told[-1].action == {"type": "remove", "thing": 5} and told[-1].method == "remove"


def test_d1_a_subscription_that_is_ended_is_told_nothing_more_and_others_are(open_):
    (node,) = open_.cluster(1)
    ended, kept = Listener(), Listener()
    unsubscribe = node.subscribe(ended)
    node.subscribe(kept)
    perform(node, "append", 1)
    ended.wait(1)
    unsubscribe()
    unsubscribe()
    perform(node, "append", 2)
    kept.wait(2)
    assert len(ended.told) == 1


def test_a_callback_that_raises_harms_nobody(open_, caplog):
    caplog.set_level(logging.CRITICAL, "conflux.node")
    (node,) = open_.cluster(1)
    listener = Listener()
    node.subscribe(lambda committed: 1 / 0)
    node.subscribe(listener)
    for number in range(3):
        perform(node, "append", number)
    assert len(listener.wait(3)) == 3 and node.is_leader()


def test_a_callback_may_perform(open_):
    (node,) = open_.cluster(1)
    listener = Listener()
    node.subscribe(lambda committed: perform(node, "append", "reply") if committed.action["thing"] == "call" else None)
    node.subscribe(listener)
    perform(node, "append", "call")
    assert [committed.action["thing"] for committed in listener.wait(2)] == ["call", "reply"]


def test_leaders_that_are_elected_are_told_by_identity(open_):
    nodes = open_.cluster()
    listener = Listener()
    keeper = follower_of(nodes)
    keeper.on("leader_elected", listener)
    old = leader_of(nodes)
    old.close()
    rest = [node for node in nodes if node is not old]
    new = leader_of(rest)
    until(lambda: new.status()["node"]["id"] in listener.told)


def test_there_is_no_such_event(open_):
    (node,) = open_.cluster(1)
    with pytest.raises(OptionsError, match="no event 'comitted': there are appended, committed"):
        node.on("comitted", print)


# ---- Time-outs and the end ----


def test_without_the_others_nothing_is_applied_and_the_error_says_who_is_missing(open_):
    node = open_.node(id="a", cluster_size=3, channel={"name": "memory", "hub": f"hub{next(_hubs)}"})
    with pytest.raises(NotReady, match="waiting for 2 of 3 nodes; here are a"):
        node.perform("append", "x", timeout=0.3)
    assert list(node.get_state()) == [] == list(node.get_provisional_state())
    assert node.status()["node"]["role"] == "forming" and not node.is_leader()


def test_perform_waits_for_a_cluster_that_forms_later(open_):
    hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
    future = open_.node(id="a", cluster_size=2, channel=hub).submit("append", "x")
    assert not future.done()
    open_.node(id="b", cluster_size=2, channel=hub)
    assert future.result(SECONDS_MAX).revision == 1


def test_f1_without_a_leader_a_call_is_certainly_not_applied(open_):
    nodes = open_.cluster()
    last = follower_of(nodes)
    for node in nodes:
        if node is not last:
            node.close()
    with pytest.raises(NoLeader):
        last.perform("append", "x", timeout=1.5)


def test_f1_a_call_that_the_leader_took_and_could_not_commit_is_unknown(open_):
    nodes = open_.cluster()
    leader = leader_of(nodes)
    perform(leader, "append", "kept")
    for node in nodes:
        if node is not leader:
            node.close()
    try:
        leader.perform("append", "lost", timeout=1.5)
    except (OutcomeUnknown, NotApplied) as error:
        told = error
    in_log = "lost" in leader.get_provisional_state()
    assert isinstance(told, OutcomeUnknown) or not in_log
    assert list(leader.get_state()) == ["kept"]


def test_a_linearizable_read_without_a_majority_is_not_answered(open_):
    nodes = open_.cluster()
    leader = leader_of(nodes)
    for node in nodes:
        if node is not leader:
            node.close()
    with pytest.raises(NotApplied):
        leader.get_state("linearizable", timeout=2.0)


def test_a_linearizable_read_waits_for_a_cluster_that_forms_later(open_):
    hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
    node = open_.node(id="a", cluster_size=2, channel=hub)
    threading.Timer(0.2, lambda: open_.node(id="b", cluster_size=2, channel=hub)).start()
    try:
        assert list(node.get_state("linearizable", timeout=SECONDS_MAX)) == []
    finally:
        until(lambda: len(open_.nodes) == 2)


def test_d12_close_ends_every_wait(open_):
    node = open_.node(id="a", cluster_size=3, channel={"name": "memory", "hub": f"hub{next(_hubs)}"})
    futures = [node.submit("append", number) for number in range(5)]
    node.close()
    for future in futures:
        with pytest.raises((Closed, OutcomeUnknown)):
            future.result(SECONDS_MAX)


def test_close_while_another_thread_performs_tells_it(open_):
    nodes = open_.cluster()
    told: list[Any] = []

    def work() -> None:
        try:
            while True:
                perform(nodes[0], "append", 1)
        except ConfluxError as error:
            told.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: len(nodes[0].get_state()) > 3)
    nodes[0].close()
    thread.join(SECONDS_MAX)
    assert isinstance(told[0], Closed | OutcomeUnknown)


def test_a_closed_node_says_so(open_):
    (node,) = open_.cluster(1)
    with node:
        perform(node, "append", 1)
    node.close()
    for use in (lambda: node.perform("append", 1), node.get_state, node.status, lambda: node.subscribe(print)):
        with pytest.raises(Closed):
            use()
    assert not node.is_leader()


def test_d12_no_caller_waits_for_ever_when_leaders_change(open_):
    nodes = open_.cluster(5)
    futures: list[Future[Any]] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.002):
            for node in nodes:
                try:
                    futures.append(node.submit("append", len(futures), timeout=SECONDS_MAX))
                except ConfluxError:
                    pass  # this one is closed

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(2):
        before = len(futures)
        until(lambda before=before: len(futures) > before + 50)
        leader_of([node for node in nodes if not node._closed]).close()
    alive = [node for node in nodes if not node._closed]
    leader_of(alive)
    stop.set()
    thread.join()
    committed = 0
    for future in futures:
        try:
            committed += future.result(SECONDS_MAX * 2).revision is not None
        except (Closed, OutcomeUnknown, NotApplied):
            pass
    state = list(alive[0].get_state("linearizable", timeout=SECONDS_MAX))
    assert committed <= len(state) and committed > 0


def test_a14_a_node_that_diverged_says_which_revision_and_serves_no_more(open_):
    calls = count()

    def reduce(state: Any, action: Any) -> Any:
        if action and next(calls) == 1:  # the second node that folds it
            raise OSError("only here")
        return (state or 0) + bool(action)

    nodes = open_.cluster(3, conflux.App({"act": lambda state: "go"}, reduce))
    perform(nodes[0], "act")
    victim = diverged_of(nodes)
    with pytest.raises(Diverged, match="revision 1"):
        victim.get_state()


def test_the_provisional_state_of_a_node_that_diverged_is_an_error_and_not_its_end(open_):
    calls = count()

    def reduce(state: Any, action: Any) -> Any:
        if action and next(calls) >= 1:
            raise OSError("only here")
        return 0

    nodes = open_.cluster(3, conflux.App({"act": lambda state: "go"}, reduce))
    perform(nodes[0], "act")
    victim = diverged_of(nodes)
    told: list[Any] = []

    def ask() -> None:
        try:
            victim.get_provisional_state()
        except ConfluxError as error:
            told.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS_MAX)
    assert told, "the caller still waits"


# ---- On disk, and over sockets ----


def test_a_restart_from_its_directory_keeps_the_state(open_, tmp_path):
    hub = {"name": "memory", "hub": f"hub{next(_hubs)}"}
    options: dict[str, Any] = {"cluster_size": 3, "channel": hub, "data_dir": tmp_path}
    nodes = [open_.node(id=label, **options) for label in "abc"]
    for number in range(5):
        perform(nodes[number % 3], "append", number)
    before = nodes[0].status()
    for node in nodes:
        node.close()
    nodes = [open_.node(id=label, **options) for label in "abc"]
    perform(nodes[1], "append", 5)
    assert list(nodes[2].get_state("linearizable", timeout=SECONDS_MAX)) == [0, 1, 2, 3, 4, 5]
    after = nodes[0].status()
    assert (after["cluster_id"], after["node"]["id"]) == (before["cluster_id"], before["node"]["id"])
    assert after["term"] > before["term"] and Path(after["node"]["data_dir"]) == tmp_path / "conflux" / "a"


def test_a_directory_of_another_app_is_refused(open_, tmp_path):
    options: dict[str, Any] = {"id": "a", "cluster_size": 1, "data_dir": tmp_path, "channel": "memory"}
    open_.node(**options).close()
    with pytest.raises(WrongDirectory, match="the directory is of app list, not shop"):
        open_.node(shop(), **options)
    with pytest.raises(WrongDirectory, match="cluster size 1, not 3"):
        open_.node(**options | {"cluster_size": 3})
    assert perform(open_.node(**options), "append", 1)


def test_in_memory_a_node_that_comes_back_is_somebody_else(open_):
    nodes = open_.cluster(3)
    before = nodes[0].status()["node"]["id"]
    spec = {"name": "memory", "hub": f"hub{next(_hubs) - 1}"}
    nodes[0].close()
    again = open_.node(id="a", cluster_size=3, channel=spec)
    assert again.status()["node"]["id"] != before
    rest = nodes[1:]
    perform(leader_of(rest), "append", "x")
    assert not again.is_leader() and again.status()["node"]["role"] == "forming"


def test_three_nodes_of_one_process_over_sockets(open_, tmp_path):
    options: dict[str, Any] = {
        "cluster_size": 3,
        "channel": {"name": "zeromq", "bind": "127.0.0.1:0", "insecure": True},
        "data_dir": tmp_path,
    }
    peers: list[str] = []
    nodes: list[conflux.Conflux] = []
    for label in "abc":
        nodes.append(open_.node(id=label, peers=tuple(peers), **options))
        peers.append(nodes[-1].status()["node"]["endpoint"])
    listener = Listener()
    nodes[2].subscribe(listener)
    for number, node in enumerate(nodes):
        assert perform(node, "append", number)["thing"] == number
    assert [committed.action["thing"] for committed in listener.wait(3)] == [0, 1, 2]
    assert list(nodes[0].get_state("linearizable", timeout=SECONDS_MAX)) == [0, 1, 2]
    members = nodes[0].status()["members"]
    assert sorted(member["endpoint"] for member in members) == sorted(peers)


@pytest.mark.parametrize("size", [1, 2])
def test_where_all_others_are_named_nobody_waits_for_more_of_them(open_, tmp_path, monkeypatch, size):
    monkeypatch.setattr(formation, "SETTLE_SECONDS", 10 * SECONDS_MAX)
    options = {"channel": {"name": "zeromq", "insecure": True}, "cluster_size": size, "data_dir": tmp_path}
    nodes: list[conflux.Conflux] = []
    for label in "ab"[:size]:
        peers = [node.status()["node"]["endpoint"] for node in nodes]
        nodes.append(open_.node(id=label, peers=peers, **options))
    perform(nodes[-1], "append", "x")


def test_a_node_lives_where_the_environment_says(open_: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONFLUX_DATA_DIR", str(tmp_path))
    node = open_.node(id="a", cluster_size=1, channel={"name": "zeromq", "bind": "127.0.0.1:0", "insecure": True})
    perform(node, "append", "x")
    assert (tmp_path / "conflux" / "a" / "data.mdb").exists()


def test_the_state_at_a_revision(open_: Open):
    a, *_ = open_.cluster(3)
    for thing in "xyz":
        a.perform("append", thing, timeout=SECONDS_MAX)
    assert [[*a.state_at(revision, timeout=SECONDS_MAX)] for revision in range(4)] == [[*"xyz"[:n]] for n in range(4)]
    with pytest.raises(NotRetained, match="the newest is 3"):
        a.state_at(4)


def test_the_state_at_a_revision_of_a_node_that_has_no_cluster(open_: Open):
    node = open_.node(id="a", cluster_size=3, channel={"name": "memory", "hub": f"hub{next(_hubs)}"})
    with pytest.raises(NotReady):
        node.state_at(0, timeout=SECONDS_MAX)


# ---- What hardly ever happens ----


def test_there_is_no_such_consistency(open_: Open):
    a, *_ = open_.cluster(1)
    with pytest.raises(OptionsError, match="consistency is 'local' or 'linearizable', not 'eventual'"):
        a.get_state("eventual")  # type: ignore[arg-type]


def test_a_state_of_the_past_that_takes_too_long_is_given_up(open_: Open):
    a, *_ = open_.cluster(1)
    a._node.member.past.ask = lambda *_: None  # type: ignore[union-attr, method-assign, assignment]
    with pytest.raises(NotReady, match="was not folded in time"):
        a.state_at(0, timeout=0.01)


def test_a_state_that_is_older_than_what_was_shown_before_is_waited_for(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, *_ = open_.cluster(1)
    monkeypatch.setattr(type(a._node), "is_recovering", True)
    with pytest.raises(NotReady, match="still folding its log"):
        a.get_state(timeout=0.2)


def test_what_is_asked_just_as_the_loop_ends_is_answered(open_: Open):
    a, *_ = open_.cluster(1)
    a._loop.stop()
    a._loop.join()
    with pytest.raises(Closed):
        perform(a, "append", "x")


def test_a_node_whose_loop_has_failed_says_why(open_: Open):
    a, *_ = open_.cluster(1)

    def fail() -> None:
        raise ConfluxError("the disk is gone")

    a._node.turn = fail  # type: ignore[method-assign]
    a._loop.join()
    with pytest.raises(ConfluxError, match="the node stopped: the disk is gone"):
        a.get_state()


def test_a_channel_of_ones_own(open_: Open, tmp_path: Path):
    node = open_.node(id="a", cluster_size=1, channel=MemoryChannel(MemoryHub()), data_dir=tmp_path)
    assert perform(node, "append", "x") == {"type": "append", "thing": "x"}
