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
DATA = ROOT / ".coverage.json"

# The least that a run of the suite covers of each room, in percent of its lines and branches.
FLOORS = {"raft": 100.0, "store": 100.0, "storage": 99.0, "node": 98.0}
FLOOR_OF_OTHERS = 90.0
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

    def add(self, name: str, file: dict[str, Any]) -> None:
        summary = file["summary"]
        self.covered += summary["covered_lines"] + summary["covered_branches"]
        self.all += summary["num_statements"] + summary["num_branches"]
        lines = [str(line) for line in file["missing_lines"]]
        branches = [f"{start}->{end}" for start, end in file["missing_branches"] if start not in file["missing_lines"]]
        if lines or branches:
            self.gaps.append(f"{name}: {', '.join([*lines, *branches])}")


def rooms(report: dict[str, Any]) -> dict[str, Room]:
    """By the name of a folder of the package; files beside the folders are one room."""
    found: dict[str, Room] = defaultdict(Room)
    for path, file in sorted(report["files"].items()):
        parts = Path(path).parts
        if "conflux" in parts:
            parts = parts[parts.index("conflux") + 1 :]
            found[parts[0] if len(parts) > 1 else "."].add("/".join(parts), file)
    return dict(found)


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
