"""The clusters of this machine, as their directories show them: `DIR/CLUSTER/cluster.json` and `DIR/CLUSTER/LABEL/`.

The manifest is written by whoever starts a cluster here, before any node runs. It says which nodes there should be, so
that a missing or wiped directory is noticed; it is no member list, which only the nodes agree on.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from conflux.errors import ConfluxError, Damaged, DirectoryError

MANIFEST = "cluster.json"
RUNTIME = "node.json"
KEY = "cluster.key"
NODE_LOG = "node.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A node that this machine was told to run."""

    label: str
    identity: str
    address: str = ""  # where it listened last: what others dial
    bind: str = ""  # where it listens, if that is something else
    join: str | None = None  # came to a cluster that was formed: by this token, or by an operator's hand ("")
    made: bool = False  # its directory was made: if it is missing now, it is lost, and with it whom the node voted for


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was started here."""

    cluster: str
    size: int  # of the cluster when it was formed; 0 where only nodes that joined it are here
    app: str  # MODULE:ATTR
    app_dir: str
    insecure: bool = False  # without a key, by wish
    nodes: tuple[LocalNode, ...] = field(default=())
    local: int | None = None  # how many founders were here, once others have come or some have gone
    peers: tuple[str, ...] = ()  # what was said of the network, until something else is said
    mdns: bool = True
    advertise: str | None = None
    archive: str | None = None  # what is cut of the nodes' logs is kept there, each below its label

    @property
    def founders_here(self) -> int:
        """How many of the nodes that formed the cluster were started here."""
        return len(self.nodes) if self.local is None else self.local

    @property
    def is_whole(self) -> bool:
        """True where the cluster was formed by nodes of this machine alone."""
        return 0 < self.size == self.founders_here

    def with_node(self, node: LocalNode) -> Manifest:
        """With one that joins the cluster, in the place of the one that had its label, if one had."""
        labels = [each.label for each in self.nodes]
        nodes = [node if each.label == node.label else each for each in self.nodes]
        return replace(self, nodes=tuple(nodes if node.label in labels else [*nodes, node]), local=self.founders_here)

    def without(self, label: str) -> Manifest:
        """Without a node that is no member any more."""
        return replace(self, nodes=tuple(node for node in self.nodes if node.label != label), local=self.founders_here)

    def save(self, directory: Path) -> None:
        """Write it into the cluster's directory: whole or not at all."""
        write_json(directory / MANIFEST, asdict(self))

    @classmethod
    def load(cls, directory: Path) -> Manifest | None:
        """The manifest in a cluster's directory; None where there is none.

        Raises:
            Damaged: it is there and makes no sense.
        """
        data = read_json(directory / MANIFEST)
        if data is None:
            return None
        try:
            nodes = tuple(LocalNode(**node) for node in data.pop("nodes"))
            peers = tuple(data.pop("peers", ()))
            return cls(**data, nodes=nodes, peers=peers)
        except (TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{directory / MANIFEST} makes no sense: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a running node tells in its directory; true only while the directory's lock is held."""

    pid: int
    endpoint: str
    label: str
    identity: str
    local: str = (
        ""  # what programs of this machine dial: elsewhere the endpoint counts, which may lead nowhere from here
    )

    @property
    def dialled(self) -> str:
        """What to dial from here."""
        return self.local or self.endpoint

    def save(self, directory: Path) -> None:
        """Write it into the node's directory."""
        write_json(directory / RUNTIME, asdict(self))

    @classmethod
    def load(cls, directory: Path) -> Runtime | None:
        """What the node's directory tells; None where it tells nothing of use."""
        try:
            data = read_json(directory / RUNTIME)
            return None if data is None else cls(**data)
        except (TypeError, ConfluxError):
            return None


def write_json(path: Path, data: Any) -> None:
    """Replace a file by this JSON: whole or not at all, on disk when the call returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def read_json(path: Path) -> Any:
    """The JSON in a file; None where there is no file.

    Raises:
        Damaged: it is no JSON.
        DirectoryError: the system refuses.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        hint = f"See whose it is: ls -ld {shlex.quote(str(path))}"
        raise DirectoryError(f"{path} can't be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise Damaged(f"{path} can't be read: {error}") from error
