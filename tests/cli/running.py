"""The command line as its users have it: a process with streams and an exit status."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0

# Root may read everything: what may not be read needs one who gave that up.
IS_ROOT = os.geteuid() == 0
POWERLESS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all") if IS_ROOT else ()
needs_powerless = pytest.mark.skipif(
    IS_ROOT and shutil.which("setpriv") is None, reason="giving up root's rights needs `setpriv`"
)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one object."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its objects, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """What --json says of its failure: the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "conflux", *arguments]


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change what a command does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONFLUX_", "_CONFLUX"))}
    kept.pop("NO_COLOR", None)
    return kept | {"PYTHONPATH": str(ROOT)} | more


def conflux(*arguments: str, cwd: Path | None = None, before: Sequence[str] = (), **more: str) -> Ran:
    """Run a command to its end, under another one where that is said."""
    done = subprocess.run(
        [*before, *command_line(*arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        env=environment(**more),
        cwd=cwd,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def on_terminal(*arguments: str, columns: int = 140, **more: str) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line(*arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(COLUMNS=str(columns), TERM="xterm-256color", **more),
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the other end is closed: on Linux that is an error
        pass
    finally:
        os.close(ours)
        process.wait(TIMEOUT_S)
    return shown.decode().replace("\r\n", "\n")


def shell(line: str, data_dir: Path, **more: str) -> Ran:
    """Run a line of bash in which `conflux` is ours."""
    prefix = f'conflux() {{ "{sys.executable}" -m conflux "$@"; }}; set -o pipefail; '
    done = subprocess.run(
        ["bash", "-c", prefix + line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment(CONFLUX_DATA_DIR=str(data_dir), **more),
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def wait_until(condition: Callable[[], Any]) -> Any:
    """What the condition gives, once it is true."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not become true in time"
        time.sleep(0.02)
    return found


@dataclass
class Cluster:
    """A cluster that `conflux start --detach` started."""

    data_dir: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)  # by label

    def run(self, *arguments: str, before: Sequence[str] = (), **more: str) -> Ran:
        return conflux(*arguments, before=before, CONFLUX_DATA_DIR=str(self.data_dir), **more)

    def start(self, size: int, *options: str) -> None:
        ran = self.run("start", "--cluster-size", str(size), "--detach", "--json", *options)
        assert ran.status == 0, ran.err
        self.nodes = {row["label"]: row for row in ran.lines}

    @property
    def directory(self) -> Path:
        return self.data_dir / "conflux"


def start(cluster: Cluster, *arguments: str) -> subprocess.Popen[str]:
    """Start a command that is to be ended by the test."""
    return subprocess.Popen(
        command_line(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(CONFLUX_DATA_DIR=str(cluster.data_dir)),
    )


INTERRUPTED = """
import os, sys
from conflux.cli.main import main
from conflux.client.client import Client

def interrupted(*arguments, **options):
    found = as_ever(*arguments, **options)
    os.kill(os.getpid(), {number})
    return found

as_ever, Client.{name} = Client.{name}, interrupted
raise SystemExit(main(sys.argv[1:]))
"""


def interrupted(cluster: Cluster, name: str, *arguments: str, number: int = signal.SIGINT) -> Ran:
    """Run a command to which a signal comes just as that method of its client returns."""
    program = INTERRUPTED.format(name=name, number=int(number))
    command = [sys.executable, "-c", program, "--data-dir", str(cluster.data_dir), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment(), check=False)
    return Ran(done.returncode, done.stdout, done.stderr)
