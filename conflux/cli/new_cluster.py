"""What `snapshot restore` and `recover` share: the app and the key of the cluster that they make, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conflux.cli import output
from conflux.cli.options import Settings
from conflux.errors import ConfluxError

if TYPE_CHECKING:
    from conflux.discovery.local import Manifest
    from conflux.transport.keys import ClusterKey


def app_of(name: str, version: int, spec: str | None, app_dir: Path) -> str:
    """The MODULE:ATTR of the app that a state was made by.

    Raises:
        ConfluxError: the app that was named, or the default one, is another, or of another version.
    """
    from conflux.app import load_app
    from conflux.node.beginnings import DEFAULT_APP

    found = spec or (name if ":" in name else DEFAULT_APP)
    app = load_app(found, str(app_dir))
    if (app.name, app.version) != (name, version):
        raise ConfluxError(
            f"the state is of the app {name}, version {version}; {found} is {app.name}, version {app.version}",
            hint="Name the app with --app MODULE:ATTR, and its directory with --app-dir.",
        )
    return found


def key_of(settings: Settings) -> ClusterKey:
    """The key of the new cluster: the one that was given, else a new one."""
    from conflux.transport.keys import ClusterKey

    return ClusterKey.load(settings.key) if settings.key is not None else ClusterKey.generate()


def tell(settings: Settings, manifest: Manifest, *, revision: int, aside: Path | None) -> None:
    """Say what was made."""
    place = settings.cluster_dir
    if settings.json:
        nodes = [
            {"id": node.identity, "label": node.label, "data_dir": str(place / node.label)} for node in manifest.nodes
        ]
        fields = {"cluster": manifest.cluster, "revision": revision, "set_aside": str(aside) if aside else None}
        output.print_json(fields | {"nodes": nodes})
        return
    labels = ", ".join(node.label for node in manifest.nodes)
    output.print_line(f"made the cluster {manifest.cluster!r} at revision {revision}: {labels} in {place}")
    if aside is not None:
        output.print_line(f"the old directories are in {aside}, as they were")
    named = f" --cluster {settings.cluster}" if settings.cluster_was_named else ""
    output.note(f"Next: conflux{named} start. It has a key of its own.", verbosity=settings.verbosity)
