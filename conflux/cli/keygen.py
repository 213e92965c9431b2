"""`conflux keygen FILE`"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command


@command("keygen", examples=["conflux keygen cluster.key"])
@click.argument("file", type=NamedPath())
def keygen(settings: Settings, file: Path) -> None:
    """Make a cluster key: a new FILE that only you can read.

    Who has it can read and write the whole cluster. Its fingerprint tells keys apart and may be shown to anyone.
    """
    from conflux.transport.keys import ClusterKey

    key = ClusterKey.generate()
    key.save(file)
    if settings.json:
        output.print_json({"path": str(file), "fingerprint": key.fingerprint})
        return
    output.print_line(f"{file}  fingerprint {key.fingerprint}")
    start = f"conflux start --cluster-size 5 --local 1 --key {shlex.quote(str(file))}"
    output.note(f"Next: copy it to each machine of the cluster, and there: {start}", verbosity=settings.verbosity)
