"""The package in a process that has loaded nothing else of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import conflux


def said_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", conflux.__all__)
def test_whoever_imports_the_package_alone_has_its_names(name: str) -> None:
    assert said_by(f"import conflux; print(conflux.{name}.__name__)").rpartition(".")[2] == name


def test_whoever_imports_the_package_alone_has_no_other_names() -> None:
    program = "import conflux\ntry: conflux.Confluence\nexcept AttributeError as error: print(error)"
    assert said_by(program) == "module 'conflux' has no attribute 'Confluence'"
