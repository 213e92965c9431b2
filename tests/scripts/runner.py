"""Runs golden scripts: comments and commands of a person, and under each command what it makes the nodes do.

Rule: a line that begins with `> ` is a command, one that begins with `#` a comment; all others are output, and are
what is compared or written anew.
"""

from __future__ import annotations

from pathlib import Path

from tests.scripts.lab import ScriptError
from tests.scripts.language import Language

HERE = Path(__file__).parent
COMMAND, COMMENT = "> ", "#"


def scripts() -> list[Path]:
    """Every script, by chapter and name."""
    return sorted(HERE.glob("**/*.txt"))


def name_of(path: Path) -> str:
    """`elections/one_leader`"""
    return path.relative_to(HERE).with_suffix("").as_posix()


def played(text: str) -> str:
    """The script with the output that it really has.

    Raises:
        ScriptError: a command of it can't be carried out; says on which line.
    """
    language, lines = Language(), []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(COMMAND):
            try:
                output = language.run(line.removeprefix(COMMAND))
            except ScriptError as error:
                raise ScriptError(f"line {number}: {error}") from error
            except AssertionError as error:
                raise ScriptError(f"line {number}: the protocol is broken: {error!r}") from error
            lines += [line, *output]
        elif not line or line.startswith(COMMENT):
            lines.append(line)
    return "\n".join(lines) + "\n"


def rewrite(path: Path) -> bool:
    """Write the output that the script really has. True where that changed the file."""
    before = path.read_text("utf-8")
    after = played(before)
    if after != before:
        path.write_text(after, "utf-8")
    return after != before
