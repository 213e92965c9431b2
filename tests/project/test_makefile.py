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
