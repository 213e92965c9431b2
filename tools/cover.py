"""Runs the test suite under branch coverage and holds each room to its floor: `make cover`.

Processes that tests start are measured too, those that are killed are not: they write nothing down. Arguments are
pytest's; `--report` judges the data of the last run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".coverage-report.json"

# The least that a run of the suite covers of each room, in percent of its lines and branches.
FLOORS = {"raft": 100.0, "store": 100.0, "storage": 98.0}
FLOOR_OF_OTHERS = 90.0
FORKED = "a forked child runs it, and ends without writing down what it ran; tests/storage/test_opening.py has it"

# Lines and branches that no test can reach: (file, words of the line) → why.
UNREACHABLE: dict[tuple[str, str], str] = {
    ("raft/replication.py", "if progress.next_index <= log.last_index:"): (
        "a leader probes from its no-op at most, so there is always an entry to send; kept for when a log begins later"
    ),
    (
        "raft/sanity.py",
        "case VoteReply() | TimeoutNow():",
    ): "the union of messages has no other member: mypy sees to that",
    ("storage/lock.py", "for lock in list(_held):"): FORKED,
    ("storage/lock.py", "lock.release()"): FORKED,
    ("store/machine.py", "case StateHash():"): "the union of records has no other member: mypy sees to that",
}
SUITE = ("-n", "2", "-q", "--cov", "--cov-report=")


@dataclass(slots=True)
class Room:
    """Part of the package, and what of it was run."""

    covered: int = 0
    all: int = 0
    gaps: list[str] = field(default_factory=list)

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.all if self.all else 100.0

    def add(self, name: str, file: dict[str, Any], text: list[str]) -> None:
        summary = file["summary"]
        known = [place for where, words in UNREACHABLE if where == name for place in _lines(text, words)]
        missing = [line for line in file["missing_lines"] if line not in known]
        unmet = [(start, end) for start, end in file["missing_branches"] if start not in known]
        self.covered += summary["num_statements"] - len(missing) + summary["num_branches"] - len(unmet)
        self.all += summary["num_statements"] + summary["num_branches"]
        lines = [str(line) for line in missing]
        branches = [f"{start}->{end}" for start, end in unmet if start not in file["missing_lines"]]
        if lines or branches:
            self.gaps.append(f"{name}: {', '.join([*lines, *branches])}")


def rooms(report: dict[str, Any]) -> dict[str, Room]:
    """By the name of a folder of the package; files beside the folders are one room."""
    found: dict[str, Room] = defaultdict(Room)
    for path, file in sorted(report["files"].items()):
        parts = Path(path).parts
        if "conflux" in parts:
            parts = parts[parts.index("conflux") + 1 :]
            text = (ROOT / path).read_text("utf-8").splitlines() if (ROOT / path).exists() else []
            found[parts[0] if len(parts) > 1 else "."].add("/".join(parts), file, text)
    return dict(found)


def _lines(text: list[str], words: str) -> list[int]:
    return [number for number, line in enumerate(text, 1) if line.strip() == words]


def main(arguments: list[str]) -> int:
    """Run, report, judge; gives the exit status."""
    if arguments != ["--report"]:
        _run("coverage", "erase")
        if _run("pytest", *SUITE, *arguments):
            return 1
    if _run("coverage", "json", "-q", "-o", str(DATA)):
        return 1
    below = []
    for name, room in rooms(json.loads(DATA.read_text("utf-8"))).items():
        floor = FLOORS.get(name, FLOOR_OF_OTHERS)
        mark = "" if room.percent >= floor else f"  below its floor of {floor:.0f} %"
        sys.stdout.write(f"{name:12} {room.percent:6.2f} %{mark}\n")
        sys.stdout.writelines(f"    {gap}\n" for gap in room.gaps if name in FLOORS or mark)
        below += [name] if mark else []
    return 1 if below else 0


def _run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
