"""C13: a directory on a file system of the network is known as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from conflux.storage.filesystem import networked

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:40 / /home rw shared:2 - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/a\\040b/local rw - tmpfs tmpfs rw
32 22 0:42 / /share rw - ext4 /dev/sdb rw
33 22 0:43 / /share rw - cifs //server/share rw
34 22 0:44 / /windows rw master:3 - 9p C:\\134 rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib/conflux", None),
        ("/home/someone/conflux", "nfs4"),
        ("/home", "nfs4"),
        ("/homeless", None),
        ("/home/a b/local/conflux", None),
        ("/share/conflux", "cifs"),
        ("/windows/conflux", "9p"),
    ],
)
def test_C13_what_lies_on_the_network_is_named_by_the_mount_nearest_to_it(
    directory: str, kind: str | None, mounts: Path
) -> None:
    assert networked(Path(directory), mounts) == kind


def test_where_nobody_can_say_nothing_is_said(tmp_path: Path) -> None:
    assert networked(tmp_path, tmp_path / "nothing") is None


def test_this_machines_own_mounts_are_read(tmp_path: Path) -> None:
    networked(tmp_path)  # whatever it says, it does not raise
