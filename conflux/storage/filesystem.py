"""On what kind of file system a directory lies. A node's disk must be its own: locks and syncs over a network lie."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORKED = frozenset({"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3"})
_OCTAL = re.compile(r"\\([0-7]{3})")  # how a blank in a path is written there


def networked(directory: Path, mounts: Path = MOUNTS) -> str | None:
    """The file system's type where `directory` lies on one of the network; None where not, or where nobody can say."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
        path = directory.resolve()
    except OSError:
        return None
    best, kind = -1, ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), mount.split()[4]))
        if path.is_relative_to(point) and len(point.parts) >= best:  # of two at one place, the later hides the other
            best, kind = len(point.parts), rest.split()[0]
    return kind if kind in NETWORKED else None
