"""`--cluster` and `--endpoint` together: a call for one cluster must not end up in another that has the same key."""

from __future__ import annotations

import pytest

from tests.cli.running import Cluster, Ran


def at_endpoint(cluster: Cluster, *arguments: str, endpoint: str = "") -> Ran:
    """A command that knows nothing of this machine's clusters but their key."""
    key = str(cluster.data_dir / "conflux" / "cluster.key")
    return cluster.run("--endpoint", endpoint or cluster.nodes["n1"]["endpoint"], "--key", key, *arguments)


@pytest.mark.parametrize("call", [("perform", "append", "x"), ("state",), ("status",), ("watch",), ("members", "list")])
def test_an_endpoint_of_another_cluster_is_refused(cluster, call):
    before = cluster.run("state", "--json").json["revision"]
    ran = at_endpoint(cluster, "--cluster", "other", *call)
    endpoint = cluster.nodes["n1"]["endpoint"]
    hint = "Name another --endpoint, or leave out --cluster or --endpoint."
    assert ran == Ran(2, "", f"error: {endpoint} belongs to the cluster 'conflux', not to 'other'. {hint}\n")
    assert cluster.run("state", "--json").json["revision"] == before


def test_the_environment_names_a_cluster_too(cluster):
    key = str(cluster.data_dir / "conflux" / "cluster.key")
    endpoint = cluster.nodes["n1"]["endpoint"]
    ran = cluster.run("state", "--key", key, CONFLUX_CLUSTER="other", CONFLUX_ENDPOINT=endpoint)
    assert ran.status == 2 and "not to 'other'" in ran.err


@pytest.mark.parametrize("named", [(), ("--cluster", "conflux")])
def test_the_right_name_or_none_is_taken(cluster, named):
    assert at_endpoint(cluster, *named, "state").status == 0


def test_where_nobody_answers_nothing_is_sent(cluster):
    ran = at_endpoint(cluster, "--cluster", "conflux", "--timeout", "0.5", "state", endpoint="127.0.0.1:1")
    assert ran.status == 3 and len(ran.err.splitlines()) == 1
