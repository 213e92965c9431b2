"""`conflux replay FILE`: folds an exported log anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError, Diverged, OptionsError

if TYPE_CHECKING:
    from conflux.app import App
    from conflux.storage.saved import SavedLog
    from conflux.store.machine import Machine

HASH = re.compile(r"[0-9a-f]{32}")


@command(
    "replay",
    examples=[
        "conflux replay history.log",
        "conflux replay history.log --app shop:app --expect-hash 3f2a8b1c9d0e4f5a6b7c8d9e0f1a2b3c",
    ],
)
@click.argument("file", type=NamedPath(dir_okay=False, exists=True))
@click.option(
    "--app", "spec", envvar="CONFLUX_APP", show_envvar=True, metavar="MODULE:ATTR", help="Fold with this app."
)
@click.option(
    "--app-dir", type=click.Path(file_okay=False, exists=True), help="Where the app's module is; default: here."
)
@click.option("--expect-hash", "expected", metavar="HASH", help="The `state_hash` that it should come to.")
def replay(settings: Settings, file: Path, spec: str | None, app_dir: str | None, expected: str | None) -> None:
    """Fold a FILE that `export` wrote with the app's reducer; print the revision and the hash that it comes to.

    Every hash that the cluster's leaders wrote into the log is held against the state there. Exit status 1 where one
    differs, which says between which revisions, or where the end isn't the one that was expected.
    """
    from conflux.storage.saved import load_log
    from conflux.store.replaying import replay as fold_all

    if expected is not None and not HASH.fullmatch(expected):
        raise OptionsError(
            f"{expected!r} is no hash of a state", hint="It has 32 hex digits: see `conflux status --json`."
        )
    saved, chunks, entries = load_log(file)
    app = _app(saved, spec, app_dir)
    found = fold_all(_beginning(saved, chunks, app), entries, app)
    state_hash = found.state_hash.hex()
    if settings.json:
        fields = {"state_hash": state_hash, "agreed_revision": found.agreed_revision, "expected": expected}
        output.print_json({"revision": found.revision} | fields)
    else:
        output.print_line(f"revision {found.revision}, state hash {state_hash}")
    if expected not in (None, state_hash):
        agreed = found.agreed_revision
        known = f"; up to revision {agreed} it is what the log says" if agreed is not None else ""
        raise Diverged(
            f"the state at revision {found.revision} has the hash {state_hash}, not {expected}{known}",
            hint="Compare hashes of one revision: `state_hash` and `state_hash_revision` in `conflux status --json`.",
        )


def _app(saved: SavedLog, spec: str | None, app_dir: str | None) -> App[Any, Any]:
    """The app to fold with.

    Raises:
        ConfluxError: it is of another version than the log.
    """
    from conflux.app import load_app
    from conflux.node.beginnings import DEFAULT_APP

    name = spec or (saved.app if ":" in saved.app else DEFAULT_APP)
    app = load_app(name, app_dir)
    if app.version != saved.app_version or (spec is None and app.name != saved.app):
        raise ConfluxError(
            f"the log is of {saved.app}, version {saved.app_version}; {name} is {app.name}, version {app.version}",
            hint="Name the app that made it with --app MODULE:ATTR, and its directory with --app-dir.",
        )
    return app


def _beginning(saved: SavedLog, chunks: Iterator[bytes], app: App[Any, Any]) -> Machine:
    """What the log begins with."""
    from conflux.store.image import decode_fields, decode_slices
    from conflux.store.machine import Machine

    base = saved.base
    if base is None:
        return Machine.initial(app)
    fields = decode_fields(base.fields)
    steps = decode_slices(fields, chunks, app, index=base.index, term=base.term, bytes_total=base.body_bytes)
    return next(machine for machine in steps if machine is not None)
