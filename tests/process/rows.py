"""Rows of the tables of docs/reference/beginnings.md, each named by the tests that hold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "beginnings.md"
Test = TypeVar("Test", bound=Callable[..., object])


def row(*texts: str) -> Callable[[Test], Test]:
    """Decorator: this test holds the rows whose first cells these are."""

    def decorate(test: Test) -> Test:
        test.rows = texts  # type: ignore[attr-defined]
        return test

    return decorate


def rows_of_the_page() -> set[str]:
    cells = re.findall(r"^\| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {cell for cell in cells if not cell.startswith(("what is there", "---"))}


def rows_held_by(module: object) -> set[str]:
    return {text for test in vars(module).values() for text in getattr(test, "rows", ())}
