"""How a client finds its cluster and the key to it: what it was told, else what runs on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from conflux.discovery.local import KEY, MANIFEST, Runtime
from conflux.errors import OptionsError, Unreachable
from conflux.storage.lock import lock_holder
from conflux.transport.address import Address
from conflux.transport.keys import ClusterKey

DEFAULT_CLUSTER = "conflux"
MDNS_SECONDS_MAX = 3.0


@dataclass(frozen=True, slots=True)
class Found:
    """Where a cluster's nodes may be reached, and the key, if it has one."""

    endpoints: tuple[str, ...]
    key: ClusterKey | None
    by_mdns: bool = False  # on the network, by the key's fingerprint: its user is told which one before it writes


def default_data_dir() -> Path:
    """What the environment says (CONFLUX_DATA_DIR), else the platform's directory for a user's data."""
    return Path(os.environ.get("CONFLUX_DATA_DIR") or platformdirs.user_data_dir("conflux"))


def running_nodes(cluster_dir: Path) -> list[tuple[Path, Runtime]]:
    """The nodes whose directories are locked by a living process, by label."""
    found = []
    for directory in sorted(cluster_dir.glob("*/")):
        runtime = Runtime.load(directory)
        if runtime is not None and lock_holder(directory) is not None:
            found.append((directory, runtime))
    return found


def find(
    *,
    cluster: str,
    data_dir: Path,
    endpoints: tuple[str, ...] = (),
    key_file: Path | None = None,
    mdns_seconds: float = MDNS_SECONDS_MAX,
) -> Found:
    """Endpoints and key of a cluster.

    Args:
        mdns_seconds: how long to look on the network, where a key is held and nothing runs here.

    Raises:
        Unreachable: nothing of it runs on this machine, and no endpoint was named.
        OptionsError: the key file can't be used, or an endpoint is no address.
    """
    cluster_dir = data_dir / cluster
    local_key = cluster_dir / KEY
    key = None
    if key_file is not None:
        key = ClusterKey.load(key_file)
    elif local_key.exists():
        key = ClusterKey.load(local_key)
    if not endpoints:
        endpoints = tuple(runtime.dialled for _, runtime in running_nodes(cluster_dir))
    if not endpoints and key is not None:
        return Found(_on_the_network(cluster, cluster_dir, key, mdns_seconds), key, by_mdns=True)
    if not endpoints:
        raise Unreachable(f"no node of the cluster {cluster!r} runs here (looked in {cluster_dir})")
    for endpoint in endpoints:
        if not Address.parse(endpoint).is_dialable:
            raise OptionsError(f"nobody can dial {endpoint}", hint="Name a node's HOST:PORT.")
    return Found(endpoints, key)


def _on_the_network(cluster: str, cluster_dir: Path, key: ClusterKey, seconds: float) -> tuple[str, ...]:
    """Addresses of a cluster that announces itself under this key; the handshake proves that it has it."""
    from conflux.discovery.mdns import find_clusters

    for found in find_clusters(fingerprint=key.fingerprint, cluster=cluster, seconds=seconds):
        if found.addresses:
            return found.addresses
    start = "conflux start" if cluster == DEFAULT_CLUSTER else f"conflux --cluster {cluster} start"
    is_stopped = (cluster_dir / MANIFEST).exists()
    raise Unreachable(
        f"no node of the cluster {cluster!r} runs here, and none with this key was found on the network",
        hint=f"Start those that are here: {start}" if is_stopped else "Name a node with --endpoint HOST:PORT.",
    )
