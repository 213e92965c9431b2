"""Ctrl-C at the worst of times: while Python still loads the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Stands in for a library that takes long to load: Ctrl-C comes at its first line, in every run.
INTERRUPTS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
COMMANDS = [["status"], ["perform", "append", "x"], ["watch"], ["state"], ["wait"], ["logs"], ["--help"]]


def interrupted_in(module: str, arguments: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that is interrupted when it loads `module`."""
    (place / f"{module}.py").write_text(INTERRUPTS)
    command = [sys.executable, "-m", "conflux", *arguments]
    environment = os.environ | {"PYTHONPATH": str(place), "CONFLUX_DATA_DIR": str(place)}
    environment |= {"CONFLUX_ENDPOINT": "127.0.0.1:9", "CONFLUX_TIMEOUT": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_interrupt_before_anything_is_loaded_says_nothing(arguments: list[str], tmp_path: Path) -> None:
    ran = interrupted_in("click", arguments, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [*COMMANDS[:5], ["start", "--cluster-size", "1"]], ids=" ".join)
def test_an_interrupt_while_a_command_is_loaded_says_nothing(arguments: list[str], tmp_path: Path) -> None:
    ran = interrupted_in("zmq" if arguments[0] != "start" else "msgspec", arguments, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
