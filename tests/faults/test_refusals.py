"""C19, C20: what the system refuses is one line and a status, and a node's file is told with its size on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.cluster import APP, FaultCluster, python

MAKERS = Callable[..., FaultCluster]
NOBODY = 65534
needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="giving up root's rights needs root and `setpriv`"
)


def start(cluster: FaultCluster, *before: str) -> subprocess.CompletedProcess[str]:
    """`conflux start` under another command."""
    options = ("start", "--cluster-size", "1", "--detach", "--timeout", "20", *APP)
    command = [*before, *python("-m", "conflux", "--data-dir", str(cluster.data_dir), *options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_one_line(ran: subprocess.CompletedProcess[str], words: str) -> None:
    assert ran.returncode == 1 and words in ran.stderr, ran
    assert len(ran.stderr.splitlines()) == 1 and "Traceback" not in ran.stderr, ran


@pytest.mark.parametrize("files", [12, 16, 24])
def test_C20_too_few_open_files_are_one_line_and_leave_nothing_running(files: int, make_cluster: MAKERS) -> None:
    cluster = make_cluster(1, start=False)
    assert_one_line(start(cluster, "sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"), "Too many open files")
    assert cluster.running() == []
    cluster.start()
    cluster.client.perform("append", "after", timeout=20)


@needs_setpriv
def test_C20_a_directory_of_another_user_is_one_line(make_cluster: MAKERS) -> None:
    cluster = make_cluster(1)
    cluster.kill("n1")
    owned = [cluster.directory / "n1", *(cluster.directory / "n1").iterdir()]
    for path in owned:
        os.chown(path, NOBODY, NOBODY)
    powerless = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
    assert_one_line(start(cluster, *powerless), "Permission denied")
    for path in owned:
        os.chown(path, 0, 0)
    cluster.start()
    cluster.client.perform("append", "after", timeout=20)


def test_C19_a_node_takes_what_du_says_and_not_the_size_of_its_map(make_cluster: MAKERS) -> None:
    cluster = make_cluster(1)
    cluster.client.perform("append", "one", timeout=20)
    data: Path = cluster.directory / "n1" / "data.mdb"
    blocks = data.stat().st_blocks * 512
    assert 0 < blocks <= 64 * 1024 * 1024
