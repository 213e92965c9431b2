"""Each golden script is a test, named by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.lab import ScriptError
from tests.scripts.language import Language
from tests.scripts.runner import HERE, name_of, played, rewrite, scripts

LED = "> cluster a b c\n> elect a\n"
CHAPTERS = {
    *("elections", "replication", "divergence", "reads", "transfer"),
    *("pre_vote", "check_quorum", "sessions", "crashes"),
    *("membership", "snapshots"),
}


@pytest.mark.parametrize("path", scripts(), ids=name_of)
def test_script(path: Path, rewriting: bool) -> None:
    if rewriting:
        rewrite(path)
    text = path.read_text("utf-8")
    assert played(text) == text, f"if the new trace is right: pytest tests/scripts --rewrite -k {path.stem}"


@pytest.mark.parametrize("path", scripts(), ids=name_of)
def test_a_script_says_at_its_head_what_it_shows_and_where_that_is_written(path: Path) -> None:
    head = path.read_text("utf-8").split("\n\n")[0]
    assert all(line.startswith("# ") for line in head.splitlines())
    assert any(source in head for source in ("Paper ", "Thesis ", "Design "))


def test_each_chapter_has_its_scripts_and_its_line_in_the_readme() -> None:
    page = (HERE / "README.md").read_text("utf-8")
    assert {path.parent.name for path in scripts()} == CHAPTERS
    assert not [chapter for chapter in CHAPTERS if chapter not in page]


def test_rewriting_puts_the_real_output_under_each_command_and_leaves_the_rest(tmp_path: Path) -> None:
    script = tmp_path / "roles.txt"
    script.write_text("# Two roles.\n\n" + LED + "> roles a b\nfalse\n\n# The end.\n", "utf-8")
    assert rewrite(script)
    lines = script.read_text("utf-8").splitlines()
    assert lines[:5] == ["# Two roles.", "", "> cluster a b c", "> elect a", "> roles a b"]
    assert lines[5:7] == ["a  leader, term 1, vote a, commit 1", "b  follower of a, term 1, vote a, commit 1"]
    assert lines[7:] == ["", "# The end."]
    assert not rewrite(script)


@pytest.mark.parametrize(
    "command",
    ["dance", "tick a until dawn", "deliver", "deliver a->z", "drop Append", "persist a", "restart a", "elect d"],
)
def test_a_command_that_can_not_be_carried_out_names_its_line(command: str) -> None:
    with pytest.raises(ScriptError, match="line 3: "):
        played(LED + f"> {command}\n")


def test_every_command_is_in_the_readme() -> None:
    page = (HERE / "README.md").read_text("utf-8")
    commands = [name.removeprefix("do_") for name in dir(Language) if name.startswith("do_")]
    assert not [command for command in commands if f"`{command}" not in page]
