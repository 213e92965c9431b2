"""How a client finds its cluster and the key to it: what it was told, else what runs on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs

from conflux.discovery.local import KEY, Runtime
from conflux.errors import OptionsError, Unreachable
from conflux.storage.lock import lock_holder
from conflux.transport.keys import ClusterKey

DEFAULT_CLUSTER = "conflux"


@dataclass(frozen=True, slots=True)
class Found:
    """Where a cluster's nodes may be reached, and the key, if it has one."""

    endpoints: tuple[str, ...]
    key: ClusterKey | None


def default_data_dir() -> Path:
    """The platform's directory for a user's data."""
    return Path(platformdirs.user_data_dir("conflux"))


def running_nodes(cluster_dir: Path) -> list[tuple[Path, Runtime]]:
    """The nodes whose directories are locked by a living process, by label."""
    found = []
    for directory in sorted(cluster_dir.glob("*/")):
        runtime = Runtime.load(directory)
        if runtime is not None and lock_holder(directory) is not None:
            found.append((directory, runtime))
    return found


def find(*, cluster: str, data_dir: Path, endpoints: tuple[str, ...] = (), key_file: Path | None = None) -> Found:
    """Endpoints and key of a cluster.

    Raises:
        Unreachable: nothing of it runs on this machine, and no endpoint was named.
        OptionsError: the key file can't be used.
    """
    cluster_dir = data_dir / cluster
    local_key = cluster_dir / KEY
    key = None
    if key_file is not None:
        key = ClusterKey.load(key_file)
    elif local_key.exists():
        key = ClusterKey.load(local_key)
    if not endpoints:
        endpoints = tuple(runtime.endpoint for _, runtime in running_nodes(cluster_dir))
    if not endpoints:
        raise Unreachable(f"no node of the cluster {cluster!r} runs here (looked in {cluster_dir})")
    if any("," in endpoint for endpoint in endpoints):
        raise OptionsError("name one address with each --endpoint")
    return Found(endpoints, key)
