"""Who is measured when, and what is made of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.peers import Missing
from benchmarks.plan import seconds_of, turns
from benchmarks.scenarios.context import Context
from benchmarks.throughput import summarize, table

from benchmarks import peers


def test_systems_take_turns_within_each_round():
    planned = list(turns(["a", "b"], [3], [1], rounds=2))
    assert [(turn.round, turn.system) for turn in planned] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_each_size_of_cluster_has_rounds_of_its_own():
    planned = list(turns(["a"], [3, 5], [1, 64], rounds=1))
    assert [(turn.nodes, turn.in_flight) for turn in planned] == [(3, (1, 64)), (5, (1, 64))]


def test_a_system_is_not_asked_for_more_than_it_stands():
    planned = list(turns(["a", "b"], [3], [1, 64, 256], rounds=1, limits={"a": 64, "b": 0}))
    assert [(turn.system, turn.in_flight) for turn in planned] == [("a", (1, 64))]


def test_a_plan_says_how_long_it_takes():
    planned = list(turns(["a", "b"], [3], [1, 64], rounds=3))
    assert seconds_of(planned, seconds=2, overhead_seconds=0.5, start_seconds=3) == 6 * (3 + 2 * 2.5)


def row(system: str, round_: int, per_second: float, **more: Any) -> dict[str, Any]:
    return {
        "round": round_,
        "system": system,
        "nodes": 3,
        "in_flight": 64,
        "per_second": per_second,
        "latency_ms": {"p50": 100 / per_second, "p99": 1.0, "p99.9": 2.0},
        "cpu_us_per_action_all_nodes": 5.0,
        "cpu_share_all_nodes": 1.0,
        "generator_cpu_share": None,
        "memory_bytes_max": 1,
        "disk_bytes_per_action_and_node": 1.0,
        "state_problems": [],
        **more,
    }


def test_a_summary_compares_rounds_and_leaves_out_those_that_failed():
    rows = [row("ours", 1, 100), row("theirs", 1, 50), row("ours", 2, 30), row("theirs", 2, 10)]
    rows.append({"round": 3, "system": "theirs", "nodes": 3, "failed": "it fell over"})
    ours, theirs = summarize(rows, "ours")
    assert ours["per_second_ratio"]["median"] == 1
    assert theirs["per_second_ratio"] == {"median": 2.5, "low": 2, "high": 3, "runs": 2}
    assert theirs["p50_ms_ratio"]["high"] == 0.5
    assert "generator_cpu_share" not in theirs


def test_a_wrong_state_is_told_in_the_table():
    rows = [row("ours", 1, 100), row("ours", 2, 100, state_problems=["1 actions are there more than once"])]
    assert "WRONG STATE in 1 rounds" in table(summarize(rows, "ours"), "ours")


def test_what_fails_is_a_gap_with_a_name_and_the_others_go_on(tmp_path: Path):
    context = Context(tmp_path, is_full=False, seconds=1.0, rounds=1)
    tries = []

    def missing() -> dict[str, Any]:
        tries.append("theirs")
        raise Missing("there is no apt-get here")

    rows = [row for _ in range(2) for row in context.measured("theirs", missing)]
    rows += context.measured("ours", lambda: {"seconds": 1.0})
    assert rows == [{"seconds": 1.0}] and tries == ["theirs"]
    assert context.gaps == {"theirs": "theirs: there is no apt-get here"}


def test_a_peer_that_cannot_be_installed_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "PLACE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for install in (peers.etcd, peers.redis, peers.conflux_js):
        with pytest.raises(Missing, match="there is no"):
            install()
