"""Paths as a command's parameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class NamedPath(click.Path):
    """A path that was named: an empty one is a variable of a script that was not set, and not the directory here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(
        self, value: str | os.PathLike[str], parameter: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if not str(value):
            self.fail("the name is empty.", parameter, ctx)
        return super().convert(value, parameter, ctx)
