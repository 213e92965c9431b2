"""`make demo`: a cluster of five on this machine, what it does with a few performs, and what to type next.

On a terminal the cluster stays up, shown live, until Ctrl-C. Without one the demo ends by itself.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

CLUSTER = "demo"
PERFORMS = (("append", "foo"), ("append", "bar"), ("remove", "foo"))


def main() -> int:
    """Run the demo; 0 if everything did what it should."""
    data_dir = Path.cwd() / ".demo"
    command = [sys.executable, "-m", "conflux", "--data-dir", str(data_dir), "--cluster", CLUSTER]
    typed = f"{_short(sys.executable)} --data-dir {shlex.quote(_short(str(data_dir)))} --cluster {CLUSTER}"
    if (data_dir / CLUSTER).exists():
        _run(command, "stop", quiet=True)
        shutil.rmtree(data_dir)
    print("Five nodes, each a process with a log of its own on disk:\n")
    status = _show(command, typed, "start", "--cluster-size", "5", "--detach")
    if status != 0:
        return status
    try:
        for perform in PERFORMS:
            status = status or _show(command, typed, "perform", *perform)
        print("What each node holds:\n")
        for label in ("n1", "n2", "n3", "n4", "n5"):
            status = status or _show(command, typed, "state", "--node", label)
        status = status or _show(command, typed, "inspect-log", "--node", "n1")
        stays_up = sys.stdout.isatty() and status == 0
        _say_next(typed, stays_up=stays_up)
        if stays_up:
            print("The cluster stays up until you press Ctrl-C.\n")
            _run(command, "status", "--watch")
    except KeyboardInterrupt:
        pass
    finally:
        print("\nStopping the five nodes …", flush=True)
        stopped = _run(command, "stop", quiet=True)
    return status or stopped


def _say_next(typed: str, *, stays_up: bool) -> None:
    where = f"cd {shlex.quote(os.getcwd())}"
    print("Next, in another terminal:" if stays_up else "Next (the data stays in .demo):")
    print(f"\n  {where}")
    begin = () if stays_up else ("start --detach",)
    for line in (*begin, "perform append baz", "watch --from-revision 1", "status", "stop"):
        print(f"  {typed} {line}")
    print()


def _show(command: list[str], typed: str, *arguments: str) -> int:
    """Print a command as one would type it, then run it."""
    print(f"$ {typed} {shlex.join(arguments)}", flush=True)
    status = _run(command, *arguments)
    print(flush=True)
    return status


def _run(command: list[str], *arguments: str, quiet: bool = False) -> int:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run([*command, *arguments], stdout=output, stderr=output, check=False).returncode


def _short(path: str) -> str:
    """A path as seen from here, with `conflux` in place of the interpreter beside it."""
    place = Path(path)
    if place.name.startswith("python") and (place.parent / "conflux").exists():
        place = place.parent / "conflux"
    try:
        return str(place.relative_to(Path.cwd()))
    except ValueError:
        return str(place)


if __name__ == "__main__":
    sys.exit(main())
