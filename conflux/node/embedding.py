"""`Embedding`: what a program said of a node of its own, checked as a whole, and the node that it gets."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conflux.app import App
from conflux.client.finding import default_data_dir
from conflux.discovery.interface import Discovery, SeenPeers, StaticPeers
from conflux.errors import AlreadyOpen, OptionsError
from conflux.node.formation import settle_seconds
from conflux.node.node import Node
from conflux.node.opening import memory_directory, open_directory, open_node, open_remembered_archive
from conflux.node.options import NodeOptions
from conflux.storage.archive import refuse_inside
from conflux.transport.address import Address
from conflux.transport.interface import Channel
from conflux.transport.keys import ClusterKey
from conflux.transport.memory import MemoryChannel, MemoryHub

CHANNEL_OPTIONS = {"memory": {"hub"}, "zeromq": {"bind", "advertise", "insecure"}, "own": {"channel"}}
_open_ids: set[tuple[str, str, str]] = set()  # (place, cluster, id) of the nodes open in this process
_open_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Embedding:
    """The options of an embedded node, of which none is wrong in itself."""

    app: App[Any, Any]
    options: NodeOptions
    channel: dict[str, Any]  # `name`, and the options of that channel
    peers: tuple[str, ...]
    place: Path | None  # the node's directory; None: in memory
    key: ClusterKey | str | os.PathLike[str] | None
    archive: Path | None

    @classmethod
    def checked(
        cls,
        app: App[Any, Any],
        label: str | None,
        size: int,
        *,
        channel: str | Mapping[str, Any] | Channel,
        peers: tuple[str, ...] | list[str],
        data_dir: str | os.PathLike[str] | None,
        key: ClusterKey | str | os.PathLike[str] | None,
        archive: str | os.PathLike[str] | None,
        cluster: str,
        election_timeout_ms: tuple[int, int],
        heartbeat_interval_ms: int,
    ) -> Embedding:
        """From the arguments of `Conflux`, which say what they are.

        Raises:
            OptionsError: with everything that is wrong.
        """
        spec = _channel_spec(channel)
        in_memory = spec.get("name") == "memory" and data_dir is None
        options = _options(
            app,
            label,
            size,
            spec,
            peers,
            [*_place_problems(data_dir), *_archive_problems(archive, in_memory)],
            cluster=cluster,
            election_timeout_ms=election_timeout_ms,
            heartbeat_interval_ms=heartbeat_interval_ms,
        )
        place = None if in_memory else Path(data_dir or default_data_dir()) / cluster / options.label
        root = None if archive is None else Path(archive)
        if root is not None and place is not None:
            refuse_inside(root, place.parent)
        return cls(app, options, spec, tuple(peers), place, key, root)

    def open(self) -> Node:
        """The node, which nobody turns yet; its id is taken in this process until `release`.

        Raises:
            AlreadyOpen: this id is still open in this process.
            DirectoryError: its directory or its archive can't be used.
            OptionsError: its key can't.
        """
        with _open_lock:
            if self._id in _open_ids:
                label = self.options.label
                raise AlreadyOpen(f"the node {label!r} is still open in this process", hint="Close it first.")
            _open_ids.add(self._id)
        try:
            return self._open()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """The node is closed: another may have its id."""
        with _open_lock:
            _open_ids.discard(self._id)

    @property
    def _id(self) -> tuple[str, str, str]:
        return (str(self.place or self.channel.get("hub", "")), self.options.cluster, self.options.label)

    def _open(self) -> Node:
        channel, discovery = self._channel()
        app, options, place = self.app, self.options, self.place
        try:
            directory = memory_directory(options, app) if place is None else open_directory(place, options, app)
            archive = open_remembered_archive(self.archive, directory)
            return open_node(options, app, directory, channel, discovery, data_dir=place, archive=archive)
        except BaseException:
            channel.close()
            raise

    def _channel(self) -> tuple[Channel, Discovery]:
        key = self.key if isinstance(self.key, ClusterKey) or self.key is None else ClusterKey.load(self.key)
        spec = self.channel
        if spec["name"] == "memory":
            hub = MemoryHub.named(f"{spec.get('hub', '')}/{self.options.cluster}")
            return MemoryChannel(hub), SeenPeers(hub.addresses)
        discovery = StaticPeers(self.peers)
        if spec["name"] == "own":
            return spec["channel"], discovery
        from conflux.transport.zeromq import ZeroMQChannel

        bind, advertise = spec.get("bind", "127.0.0.1:0"), spec.get("advertise")
        insecure = bool(spec.get("insecure", False))
        return ZeroMQChannel(bind, advertise=advertise, key=key, insecure=insecure), discovery


def _channel_spec(channel: str | Mapping[str, Any] | Channel) -> dict[str, Any]:
    if isinstance(channel, str):
        return {"name": channel}
    if isinstance(channel, Mapping):
        return dict(channel)
    return {"name": "own" if isinstance(channel, Channel) else repr(channel), "channel": channel}


def _options(
    app: App[Any, Any],
    label: str | None,
    size: int,
    spec: dict[str, Any],
    peers: tuple[str, ...] | list[str],
    others: list[str],
    **options: Any,
) -> NodeOptions:
    others = [*others, *(wrong_peers := _peers_problems(peers, spec))]
    problems = [*app.problems(), *others] if isinstance(app, App) else ['"app" must be a conflux.App', *others]
    if not label:
        problems.append('"id" is required')
    if not size:
        problems.append('"cluster_size" is required')
    wrong_types = _wrong_types(label, size, options)
    problems += wrong_types
    if spec.get("name") not in CHANNEL_OPTIONS:
        problems.append(f'channel {spec.get("name")!r} is unknown: "memory" and "zeromq" are there')
    elif unknown := set(spec) - CHANNEL_OPTIONS[spec["name"]] - {"name"}:
        problems.append(f"channel {spec['name']} has no option {', '.join(sorted(unknown))}")
    if not wrong_types:
        named = () if wrong_peers else peers
        settle_s = settle_seconds(size, named, mdns=False) if spec.get("name") == "zeromq" else 0.0
        try:
            checked = NodeOptions(label=label or "x", size=size or 1, settle_s=settle_s, **options)
        except OptionsError as error:
            problems.append(str(error).removeprefix("Invalid options: "))
    if problems:
        raise OptionsError(f"Invalid options: {'; '.join(problems)}")
    return checked


def _place_problems(data_dir: object) -> list[str]:
    is_path = data_dir is None or isinstance(data_dir, str | os.PathLike)
    return [] if is_path else ['"data_dir" must be a path']


def _peers_problems(peers: object, spec: dict[str, Any]) -> list[str]:
    if not isinstance(peers, tuple | list) or not all(isinstance(peer, str) for peer in peers):
        return ['"peers" must be a list of addresses']
    problems = []
    for peer in peers if spec.get("name") == "zeromq" else ():
        try:
            if not Address.parse(peer).is_dialable:
                problems.append(f"nobody can dial the peer {peer}")
        except OptionsError as error:
            problems.append(str(error).rstrip("."))
    return problems


def _archive_problems(archive: object, in_memory: bool) -> list[str]:
    if archive is None:
        return []
    rules = [
        (isinstance(archive, str | os.PathLike) and archive != "", '"archive" must be a path'),
        (not in_memory, '"archive" needs a "data_dir": without one, a node on the memory channel keeps nothing'),
    ]
    return [sentence for holds, sentence in rules if not holds]


def _wrong_types(label: object, size: object, options: dict[str, Any]) -> list[str]:
    shortest_longest = options["election_timeout_ms"]
    is_pair = isinstance(shortest_longest, tuple | list) and [type(each) for each in shortest_longest] == [int, int]
    rules = [
        (label is None or isinstance(label, str), '"id" must be a str'),
        (type(size) is int, '"cluster_size" must be a whole number'),
        (isinstance(options["cluster"], str), '"cluster" must be a str'),
        (is_pair, '"election_timeout_ms" must be two whole numbers'),
        (type(options["heartbeat_interval_ms"]) is int, '"heartbeat_interval_ms" must be a whole number'),
    ]
    return [sentence for holds, sentence in rules if not holds]
