"""tools/cover.py sums up what coverage tells, room by room."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    """tools/cover.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("cover", ROOT / "tools" / "cover.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cover"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


cover = load()


def measured(lines: int, missing: list[int], branches: int = 0, missing_branches: list[list[int]] | None = None) -> Any:
    unmet = missing_branches or []
    summary = {
        "num_statements": lines,
        "covered_lines": lines - len(missing),
        "num_branches": branches,
        "covered_branches": branches - len(unmet),
    }
    return {"summary": summary, "missing_lines": missing, "missing_branches": unmet}


REPORT = {
    "files": {
        "conflux/raft/core.py": measured(90, []),
        "conflux/raft/log.py": measured(5, [7], 5, [[7, 8], [9, -1]]),
        "conflux/cli/main.py": measured(10, [1, 2]),
        "conflux/app.py": measured(10, []),
        "tests/test_tidy.py": measured(10, [1]),
    }
}


def test_a_rooms_lines_and_branches_count_together_and_each_gap_is_named_once() -> None:
    rooms = cover.rooms(REPORT)
    assert {name: room.percent for name, room in rooms.items()} == {"raft": 97.0, "cli": 80.0, ".": 100.0}
    assert rooms["raft"].gaps == ["raft/log.py: 7, 9->-1"]


def test_a_clone_may_be_called_as_the_package_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cover, "PACKAGE", tmp_path / "conflux" / "conflux")
    paths = [str(cover.PACKAGE / "raft" / "core.py"), str(cover.PACKAGE / "app.py"), str(cover.PACKAGE.parent / "a.py")]
    assert [*cover.rooms({"files": {path: measured(1, []) for path in paths}})] == [".", "raft"]


@pytest.mark.parametrize(("name", "words"), [*cover.UNREACHABLE])
def test_what_is_called_unreachable_stands_there(name: str, words: str) -> None:
    text = (ROOT / "conflux" / name).read_text("utf-8").splitlines()
    assert cover._lines(text, words)


def test_a_branch_that_is_called_unreachable_is_no_gap() -> None:
    room, text = cover.Room(), ["match record:", "    case MembersChanged():", "        pass"]
    room.add("store/machine.py", measured(3, [], 2, [[2, 1]]), text)
    assert room.percent == 100.0 and room.gaps == []


def test_a_room_below_its_floor_is_told_with_its_gaps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cover, "measured", lambda: cover.rooms(REPORT))
    assert cover.main() == 1
    output = capsys.readouterr().out
    assert "raft          97.00 %  below its floor of 100 %\n    raft/log.py: 7, 9->-1" in output
    assert "cli           80.00 %  below its floor of 90 %" in output
    monkeypatch.setattr(cover, "FLOORS", {})
    monkeypatch.setattr(cover, "FLOOR_OF_OTHERS", 80.0)
    assert cover.main() == 0


def test_what_own_tests_must_cover_is_no_more_than_what_all_must() -> None:
    assert all(floor <= cover.FLOORS[room] for room, floor in cover.FLOORS_OF_OWN_TESTS.items())


def test_what_processes_run_can_be_left_out_and_is_there() -> None:
    assert all((cover.PACKAGE / name).is_file() for name in cover.RUN_BY_PROCESSES)
    report = {"files": {f"conflux/{name}": measured(1, []) for name in [*cover.RUN_BY_PROCESSES, "raft/log.py"]}}
    assert [*cover.rooms(report, cover.RUN_BY_PROCESSES)] == ["raft"]
