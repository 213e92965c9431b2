"""tools/measured.py in small suites of its own: what `make test` measures, and when it judges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[2]

SUITE = {
    "test_one.py": """
import subprocess, sys
import pytest

def test_measured():
    import conflux.errors

@pytest.mark.unmeasured
def test_unmeasured():
    import conflux.limits

def test_a_process_elsewhere():
    subprocess.run([sys.executable, "-c", "import conflux.raft.invariant"], check=True)
""",
    "cli/test_processes.py": """
import subprocess, sys

def test_a_process():
    subprocess.run([sys.executable, "-c", "import conflux.usercode"], check=True)
""",
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with a suite of four tests and our settings; only one room is judged: to read them all takes long."""
    settings = (ROOT / "setup.cfg").read_text("utf-8")
    title = "[coverage:report]\n"
    (tmp_path / "setup.cfg").write_text(settings.replace(title, f"{title}include = */conflux/raft/*\n"))
    for name, text in SUITE.items():
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / name).write_text(text)
    return tmp_path


def run(suite: Path, *options: str, measure: str = "all") -> tuple[int, str]:
    """Its status, and what it says."""
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-p", "tools.measured", "-q", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CONFLUX_MEASURE": measure}
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_whole_suite_fails_below_the_floors_and_pytests_summary_is_the_last_line(suite: Path) -> None:
    status, output = run(suite, "-n", "2", "-p", "no:conflux")
    assert status == 1, output
    assert output.splitlines()[-1].startswith("1 failed, 4 passed in ")
    assert "FAILED coverage - below their floors, see the table: raft" in output
    assert " %  below its floor of 100 %\n    raft/" in output


@pytest.mark.parametrize("options", [("-k", "measured"), ("tests/test_one.py",), ("--deselect", "tests/cli")])
def test_a_part_of_it_is_not_judged(suite: Path, options: tuple[str, ...]) -> None:
    status, output = run(suite, *options)
    assert status == 0 and "floor" not in output, output


def test_a_suite_in_which_a_test_fails_is_not_judged(suite: Path) -> None:
    (suite / "tests" / "test_two.py").write_text("def test_no(): raise AssertionError('no')\n")
    status, output = run(suite)
    assert status == 1 and "floor" not in output, output


@pytest.mark.parametrize("workers", ["0", "2"])
def test_marked_tests_are_not_measured_and_processes_only_of_some_rooms(suite: Path, workers: str) -> None:
    status, output = run(suite, "-n", workers, "-p", "no:conflux", "tests")  # its fixtures load half of the package
    assert status == 0, output
    assert measured(suite) == {"errors.py", "usercode.py"}


def test_as_a_rule_only_some_rooms_are_measured_by_their_own_tests(suite: Path) -> None:
    (suite / "tests" / "raft").mkdir()
    (suite / "tests" / "raft" / "test_core.py").write_text("def test_it():\n    import conflux.limits\n")
    status, output = run(suite, "-n", "2", "-p", "no:conflux", measure="")
    assert status == 1 and " %  below its floor of 99 %\n    raft/" in output, output
    status, output = run(suite, "-n", "2", "-p", "no:conflux", "tests", measure="")
    assert status == 0, output
    assert measured(suite) == {"limits.py"}


def measured(suite: Path) -> set[str]:
    """The files of which something was run, of those that the tests name."""
    data = coverage.Coverage(data_file=str(suite / ".coverage"), config_file=False)
    data.combine([str(suite)])
    names = {Path(name).name for name in data.get_data().measured_files() if data.get_data().lines(name)}
    return names & {"errors.py", "limits.py", "invariant.py", "usercode.py"}
