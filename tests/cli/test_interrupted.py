"""Ctrl-C at the worst of times: while Python still loads the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import conflux
from conflux.cli import destroy, ending
from conflux.cli.main import main

# Stands in for a library that takes long to load: Ctrl-C comes at its first line, in every run.
# Whom that does not end has the library itself then.
INTERRUPTS_AND_LOADS = """
import os, signal, sys
os.kill(os.getpid(), signal.SIGINT)
sys.path.remove({place!r})
del sys.modules[{name!r}]
import {name}
"""
# As if the command line were in a hurry: what waits for the end of an import does not come by itself.
HEARS_LATE = ("-c", "from conflux.cli import ending, main; ending.AGAIN_SECONDS = 60; raise SystemExit(main.main())")
COMMANDS = [["status"], ["perform", "append", "x"], ["watch"], ["state"], ["wait"], ["logs"], ["--help"]]


def interrupted_in(
    name: str, arguments: list[str], place: Path, program: Sequence[str] = ("-m", "conflux")
) -> subprocess.CompletedProcess[str]:
    """Run a command that is interrupted when it loads a module."""
    (place / f"{name}.py").write_text(INTERRUPTS_AND_LOADS.format(place=str(place), name=name))
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, env=environment(place), capture_output=True, text=True, timeout=60, check=False)


def environment(place: Path) -> dict[str, str]:
    """One in which modules of `place` come before all libraries, and nobody answers."""
    where = {"PYTHONPATH": str(place), "CONFLUX_DATA_DIR": str(place)}
    return os.environ | where | {"CONFLUX_ENDPOINT": "127.0.0.1:9", "CONFLUX_TIMEOUT": "1"}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_interrupt_before_anything_is_loaded_says_nothing(arguments: list[str], tmp_path: Path) -> None:
    ran = interrupted_in("click", arguments, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", COMMANDS[:5], ids=" ".join)
def test_an_interrupt_while_a_command_is_loaded_says_nothing(arguments: list[str], tmp_path: Path) -> None:
    ran = interrupted_in("zmq", arguments, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", COMMANDS[:5], ids=" ".join)
def test_an_interrupt_while_a_command_is_loaded_is_heard_before_anything_is_asked(
    arguments: list[str], tmp_path: Path
) -> None:
    ran = interrupted_in("zmq", arguments, tmp_path, program=HEARS_LATE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_an_interrupt_while_destroy_is_loaded_is_heard_before_anything_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt_an_import(_nodes: object) -> None:
        monkeypatch.setattr(ending, "AGAIN_SECONDS", 60)
        exec(compile("signal.raise_signal(signal.SIGINT)", ending.IMPORTING, "exec"), {"signal": signal})

    monkeypatch.setattr(destroy, "_refuse_running", interrupt_an_import)
    key = tmp_path / "conflux" / "cluster.key"
    key.parent.mkdir()
    key.write_text("a key")
    assert main(["--data-dir", str(tmp_path), "destroy", "--yes"]) == 130
    assert key.exists()


def test_an_alarm_of_whoever_calls_the_command_line_stays_set() -> None:
    before_s, _ = signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        assert main(["--version"]) == 0
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, before_s)


def test_an_interrupt_while_start_is_loaded_ends_it_as_any_other_does(tmp_path: Path) -> None:
    ran = interrupted_in("msgspec", ["start", "--cluster-size", "1"], tmp_path)
    before, after = (130, "", ""), (0, "Stopped.\n", "")  # it took the signals over, to stop what it starts
    assert (ran.returncode, ran.stdout, ran.stderr) in (before, after)


def test_an_interrupt_that_a_script_keeps_from_its_background_is_not_heard(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(INTERRUPTS_AND_LOADS.format(place=str(tmp_path), name="click"))
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "conflux", "--version"]
    ran = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"conflux {conflux.__version__}\n", "")


def test_the_command_that_pip_installs_is_the_same(tmp_path: Path) -> None:
    (entry,) = entry_points(group="console_scripts", name="conflux")
    script = f"import sys; from {entry.module} import {entry.attr}; sys.exit({entry.attr}())"
    command = [sys.executable, "-c", script, "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"conflux {conflux.__version__}\n", "")
