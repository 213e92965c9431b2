"""Small disks of their own for nodes: a tmpfs each, which a test fills and frees."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

MIB = 1024 * 1024
FILLER = "filler"


@cache
def why_not() -> str | None:
    """Why nothing can be mounted here; None where it can."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "a small disk needs root and `mount`"
    with TemporaryDirectory() as directory:
        probe = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "conflux-test", directory], capture_output=True, check=False
        )
        if probe.returncode:
            return f"nothing can be mounted here: {probe.stderr.decode().strip()}"
        subprocess.run(["umount", directory], check=True)
    return None


class SmallDisk:
    """A tmpfs at a path, until `close`."""

    def __init__(self, path: Path, mib: int = 16) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mount("-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "conflux-test", str(path))

    def fill(self) -> None:
        """Use up all that is left."""
        with open(self.path / FILLER, "wb", buffering=0) as filler:
            for block in (MIB, 4096):
                try:
                    while filler.write(bytes(block)) == block:
                        pass
                except OSError:
                    pass

    def free(self) -> None:
        (self.path / FILLER).unlink()

    def make_read_only(self, *, read_only: bool = True) -> None:
        self._mount("-o", f"remount,{'ro' if read_only else 'rw'}", str(self.path))

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
