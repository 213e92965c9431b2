"""`conflux.Client` over sockets: what it is handed, when a watch begins, what becomes of calls when its thread ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import conflux
from conflux.apps.list import app
from conflux.errors import ConfluxError, OptionsError

SECONDS_MAX = 20.0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[conflux.Client]:
    where: dict[str, Any] = {"name": "zeromq", "bind": "127.0.0.1:0", "insecure": True}
    with conflux.Conflux(app, id="n1", cluster_size=1, channel=where, data_dir=tmp_path, cluster="client") as node:
        address = node.status()["node"]["endpoint"]
        with conflux.Client(cluster="client", endpoints=[address], data_dir=tmp_path) as opened:
            yield opened


@pytest.mark.parametrize("revision", [1.5, "1", True, -1, 2**70], ids=repr)
def test_what_is_no_revision_is_an_options_error_and_the_client_goes_on(client, revision):
    with pytest.raises(OptionsError, match="a revision is a whole number"):
        client.get_state_at(revision)
    with pytest.raises(OptionsError, match="a revision is a whole number"):
        client.watch(revision)
    assert client.perform("append", "x", timeout=SECONDS_MAX) == {"type": "append", "thing": "x"}


def test_a_watch_begins_where_it_is_asked_for(client):
    client.perform("append", "before", timeout=SECONDS_MAX)
    watch = client.watch()
    client.perform("append", "after", timeout=SECONDS_MAX)
    assert next(watch).action["thing"] == "after"


def test_a_watch_of_a_closed_client_is_refused_where_it_is_asked_for(client):
    client.close()
    with pytest.raises(conflux.errors.Closed):
        client.watch()


def test_what_is_submitted_just_before_the_client_is_closed_is_told(client, caplog):
    for _ in range(200):
        with conflux.Client(cluster="client", endpoints=client._endpoints) as other:
            future = other.submit("append", "x")
        assert isinstance(future.exception(SECONDS_MAX), ConfluxError | None)
    assert not caplog.records


def test_a_watch_that_nobody_holds_any_more_ends(client):
    client.perform("append", "x", timeout=SECONDS_MAX)
    watch = client.watch(1)
    assert next(watch).revision == 1 and client._engine._watches
    del watch
    client.perform("append", "y", timeout=SECONDS_MAX)
    assert not client._engine._watches


@pytest.mark.parametrize("endpoints", ["127.0.0.1:7420", ["rubbish"], ["0.0.0.0:7420"], ["127.0.0.1:1,127.0.0.1:3"]])
def test_what_is_no_list_of_addresses_is_an_options_error(endpoints, tmp_path):
    with pytest.raises(OptionsError):
        conflux.Client(endpoints=endpoints, data_dir=tmp_path)


def test_nobody_waits_for_a_client_whose_thread_has_ended(client, caplog):
    client.perform("append", "x", timeout=SECONDS_MAX)
    watch, engine = client.watch(2), client._engine

    def break_down(now_s: float) -> None:
        raise ZeroDivisionError("a bug")

    engine.run_soon(break_down)
    engine._thread.join(SECONDS_MAX)
    for ask in (lambda: next(watch), lambda: client.perform("append", "y"), client.get_state, client.watch):
        with pytest.raises(ConfluxError, match="the client stopped: ZeroDivisionError: a bug"):
            ask()
    client.close()


def test_the_environment_says_where_a_cluster_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CONFLUX_DATA_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(conflux.errors.Unreachable, match="elsewhere"):
        conflux.Client(cluster="nowhere")
