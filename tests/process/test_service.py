"""The unit of examples/systemd, run as systemd would: its own command line, and a socket that wants to be told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.ports import free_pair
from tests.process.machine import new_key

UNIT = Path(__file__).resolve().parents[2] / "examples" / "systemd" / "conflux.service"


def command_of_the_unit(key: Path) -> list[str]:
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart="))
    words = line.removeprefix("ExecStart=").split()[1:]
    words[words.index("--key") + 1] = str(key)
    return [sys.executable, "-m", "conflux", *words]


def test_systemd_is_told_when_the_node_listens_and_when_it_stops(tmp_path: Path, processes: Any) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        here = ["--bind", f"127.0.0.1:{free_pair()}", "--peer", "127.0.0.1:9"]
        environment = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "CONFLUX_DATA_DIR": str(tmp_path / "data"),
        }
        command = command_of_the_unit(new_key(tmp_path, "cluster.key")) + here
        service = processes.start(*command, env=environment, stdout=subprocess.PIPE, text=True)
        assert manager.recv(100) == b"READY=1"
        assert (tmp_path / "data" / "conflux" / "cluster.json").exists()
        service.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert service.wait(30) == 0
