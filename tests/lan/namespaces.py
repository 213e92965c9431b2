"""Network namespaces by name: whether there can be any, commands about them, and their certain end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

PREFIX = "cfxlan"  # of every name, with the pid of the test run behind it
COMMAND_SECONDS = 20.0


@cache
def why_not() -> str | None:
    """Why there can be no LAN here; None where there can be one."""
    if shutil.which("ip") is None:
        return "a LAN of network namespaces needs iproute2 (`ip`)"
    if os.geteuid() != 0:
        return "a LAN of network namespaces needs root"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    try:
        ip("netns", "add", probe)
        ip("-n", probe, "link", "add", "bridge", "type", "bridge")
        ip("-n", probe, "link", "add", "one", "type", "veth", "peer", "name", "two")
        ip("netns", "exec", probe, "true")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return f"network namespaces do not work here: {error}"
    finally:
        ip("netns", "del", probe, check=False)
    return None


def remove(namespace: str) -> None:
    """Kill what runs inside a namespace of ours, and remove it."""
    while pids := ip("netns", "pids", namespace, check=False).split():
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
    ip("netns", "del", namespace, check=False)


def remove_those_of_the_dead() -> None:
    """Remove what runs that were killed have left behind."""
    for line in ip("netns", "list").splitlines():
        found = re.match(rf"{PREFIX}-(\d+)-", line)
        if found and not Path(f"/proc/{found[1]}").exists():
            remove(line.split()[0])


def ip(*arguments: str, check: bool = True) -> str:
    return run("ip", *arguments, check=check)


def run(*command: str, check: bool = True) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if check and answer.returncode:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr.strip() or answer.returncode}")
    return answer.stdout
