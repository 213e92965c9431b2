"""The Makefile: its list of targets is true, and the make of macOS (3.81) can read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Makefile").read_text("utf-8")
CHORES = {
    *("bench", "check", "clean", "cover", "demo", "faults", "fuzz"),
    *("help", "lint", "sim", "teeth", "test", "types"),
}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_chore():
    answer = subprocess.run(["make"], check=True, cwd=ROOT, capture_output=True, text=True)
    assert set(re.findall(r"^make ([a-z]+)", answer.stdout, re.MULTILINE)) == CHORES


def test_it_keeps_to_what_make_3_81_knows():
    assert not re.findall(r"^\.ONESHELL|^[\w-]+ *(?:!=|::=)|\$\((?:file|guile) ", TEXT, re.MULTILINE)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("target", "measures_all"), [("test", False), ("cover", True)])
def test_the_suite_knows_how_much_it_is_to_measure(target, measures_all):
    answer = subprocess.run(["make", "-n", target], check=True, cwd=ROOT, capture_output=True, text=True)
    (suite,) = [line for line in answer.stdout.splitlines() if "-m pytest" in line]
    assert suite.startswith("CONFLUX_MEASURE=all .venv/bin/python -m coverage run") is measures_all
