"""How clusters are driven, on workers that only say who leads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.processes import Worker, WorkerFailed, free_ports
from benchmarks.systems.cluster import EmbeddedCluster

from tests.conftest import kill

WORKER = """
import sys
from pathlib import Path
from benchmarks.workers.lines import serve
flag = Path(sys.argv[1])
serve({"role": lambda: {"leader": flag.exists()}, "fail": lambda: 1 / 0})
"""


class Pretended(EmbeddedCluster):
    """A node leads while its file is there."""

    name = "pretended"

    def new_worker(self, number: int) -> Worker:
        return Worker([sys.executable, "-c", WORKER, str(self.flag(number))], self.log_file(str(number)))

    def flag(self, number: int) -> Path:
        return self.directory / f"leads{number}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Pretended]:
    made = Pretended(2, tmp_path)
    made.flag(0).touch()
    made.start_nodes()
    yield made
    made.stop()


def lead(cluster: Pretended, number: int) -> None:
    for other in range(cluster.nodes):
        cluster.flag(other).unlink(missing_ok=True)
    cluster.flag(number).touch()


def test_who_made_the_load_is_asked_for_the_state_though_another_leads_now(cluster: Pretended):
    assert cluster.driver() is cluster.workers[0]
    lead(cluster, 1)
    assert cluster.driver() is cluster.workers[0]
    assert cluster.leader() is cluster.workers[1]


def test_a_driver_that_has_died_is_followed_by_the_leader(cluster: Pretended):
    kill(cluster.driver().pid)
    cluster.workers[0].popen.wait()
    lead(cluster, 1)
    assert cluster.driver() is cluster.workers[1]


def test_a_worker_s_error_is_an_answer_and_the_worker_goes_on(cluster: Pretended):
    with pytest.raises(WorkerFailed, match="ZeroDivisionError"):
        cluster.workers[0].ask("fail")
    assert cluster.workers[0].ask("role") == {"leader": True}


def test_a_worker_that_has_ended_is_told_with_its_last_words(cluster: Pretended):
    cluster.workers[0].kill()
    with pytest.raises(WorkerFailed, match="has ended"):
        cluster.workers[0].ask("role")


def test_no_port_is_given_twice():
    ports = free_ports(5, neighbours=2)
    assert len({each for port in ports for each in (port, port + 1)}) == 10
