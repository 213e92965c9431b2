"""Holds each room of the package to its floor, by what a run of the suite has measured.

`make test` and `make cover` do so by themselves where they run the whole suite (tools/measured.py). What a run of a
part has measured is told by `.venv/bin/coverage combine`, then `.venv/bin/python tools/cover.py`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "conflux"

# The least that the whole suite covers of each room, in percent of its lines and branches: `make cover`.
FLOORS = {"raft": 100.0, "store": 100.0, "storage": 99.0, "node": 99.0}
FLOOR_OF_OTHERS = 90.0
# And what a room's own tests cover of it: `make test`. They don't measure processes, so what those run is not judged.
FLOORS_OF_OWN_TESTS = {"raft": 99.0, "store": 99.0, "storage": 99.0, "node": 98.5}
RUN_BY_PROCESSES = frozenset({"node/app_check.py", "node/child.py", "node/launcher.py", "node/process.py"})
WAYS_OUT = ("return", "raise", "pass")

# Reasons that several lines have.
FORKED = "a forked child runs it, and ends without writing down what it ran; tests/storage/test_opening.py has it"
LEFT_AT_ONCE = "it ends the process, which writes down nothing of what it ran; tests/cli/test_interrupted.py has it"
LAST_OF_ALL = "the union or enumeration has no other member: mypy sees to that"
NOBODY_LEFT = "another voter is there, or the check before has refused; and no change is looked at during a transfer"
RACE = "another thread has to come in between two lines"

# Lines and branches that no test can reach, or none in every run: (file, words of the line) → why. It holds for each
# line of these words in that file, and for a way out (return, raise, pass) right under it.
UNREACHABLE: dict[tuple[str, str], str] = {
    ("__main__.py", "os._exit(INTERRUPTED)"): LEFT_AT_ONCE,
    ("node/changes.py", "if not isinstance(membership, Membership):"): "a node's configurations are memberships",
    ("node/changes.py", "if progress is None:"): "who is about to join is a peer from the entry on that says so",
    ("node/changes.py", "case Change.INVITE | Change.INVITE_LEARNER:"): LAST_OF_ALL,
    ("node/changes.py", "if self._hand_over():"): NOBODY_LEFT,
    (
        "node/changes.py",
        'raise _No(f"{member.label} leads, and there is nobody to hand over to", Code.BUSY)',
    ): NOBODY_LEFT,
    ("node/desk.py", "case Watch():"): LAST_OF_ALL,
    ("node/dispatcher.py", "except queue.Empty:"): RACE,
    ("node/dispatcher.py", "if self._gap is None:"): RACE,
    ("node/founding.py", "case None:"): LAST_OF_ALL,
    ("node/guard.py", "case StateHashThere():"): LAST_OF_ALL,
    ("node/guard.py", "case Verdict.OPEN:"): LAST_OF_ALL,
    ("node/guard.py", "if isinstance(ballot.mine, HashedPoint):"): (
        "false where a third node alone has a hash point there: in most runs that one stops before others judge it"
    ),
    ("node/leadership.py", "case Perform():"): LAST_OF_ALL,
    ("node/past.py", "for found in wanted.steps:"): "see the error after it",
    ("node/past.py", 'raise Damaged(f"the log does not lead to revision {wanted.revision}")'): (
        "a log that is folded leads to every revision up to the newest; kept for one that is damaged"
    ),
    ("node/past.py", "while base is not None and base.revision < revision:"): (
        "nobody takes more of these steps once the revision is there, and there is always a base"
    ),
    ("node/replica.py", "case _:"): LAST_OF_ALL,
    ("node/snapshot_work.py", "case SnapshotGone():"): LAST_OF_ALL,
    ("node/state_hashes.py", "if self._next is not None:"): "it was begun in the line before; for mypy",
    ("node/watchers.py", "if first <= self._index:"): "a revision that was folded is in an entry that was",
    ("raft/replication.py", "if first <= log.last_index:"): (
        "a leader probes from its no-op at most, so there is always an entry to send; kept for when a log begins later"
    ),
    ("raft/sanity.py", "case VoteReply() | TimeoutNow():"): LAST_OF_ALL,
    ("storage/lmdb_storage.py", "if self._pid != os.getpid():"): FORKED,
    ("storage/lock.py", "for lock in list(_held):"): FORKED,
    ("storage/lock.py", "lock.release()"): FORKED,
    ("store/machine.py", "case MembersChanged():"): LAST_OF_ALL,
}


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


def rooms(report: dict[str, Any], without: frozenset[str] = frozenset()) -> dict[str, Room]:
    """By the name of a folder of the package; files beside the folders are one room. `without`: files left out."""
    found: dict[str, Room] = defaultdict(Room)
    for path, file in sorted(report["files"].items()):
        place = (ROOT / path).resolve()  # a run elsewhere names it from the root of the file system on
        if place.is_relative_to(PACKAGE):  # whatever the folders above it are called
            name = place.relative_to(PACKAGE)
            if name.as_posix() in without:
                continue
            text = place.read_text("utf-8").splitlines() if place.exists() else []
            found[name.parts[0] if len(name.parts) > 1 else "."].add(name.as_posix(), file, text)
    return dict(found)


def _lines(text: list[str], words: str) -> list[int]:
    """The numbers of the lines of these words, and of a way out right under each."""
    found = [number for number, line in enumerate(text, 1) if line.strip() == words]
    under = [number + 1 for number in found if words.endswith(":") and text[number].strip().startswith(WAYS_OUT)]
    return found + under


def measured(without: frozenset[str] = frozenset()) -> dict[str, Room]:
    """What the last run has measured, but of the files `without`."""
    data = coverage.Coverage()  # its settings are in the setup.cfg of the folder that it runs in
    data.load()
    with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as report:
        data.json_report(outfile=report.name)
        return rooms(json.load(report), without)


def floor_of(name: str) -> float:
    return FLOORS.get(name, FLOOR_OF_OTHERS)


def below(found: dict[str, Room], floor: Callable[[str], float] = floor_of) -> list[str]:
    """The rooms that are below their floors."""
    return [name for name, room in found.items() if room.percent < floor(name)]


def table(found: dict[str, Room], floor: Callable[[str], float] = floor_of) -> Iterator[str]:
    """A line for each room, and the gaps of those below their floors."""
    low = below(found, floor)
    for name, room in found.items():
        yield f"{name:12} {room.percent:6.2f} %" + (f"  below its floor of {floor(name):g} %" if name in low else "")
        yield from (f"    {gap}" for gap in room.gaps if name in low)


def main() -> int:
    """Print the table; gives the exit status."""
    found = measured()
    sys.stdout.writelines(f"{line}\n" for line in table(found))
    return 1 if below(found) else 0


if __name__ == "__main__":
    sys.exit(main())
