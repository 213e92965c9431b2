"""The whole history for `conflux export --archive DIR`: what was cut, out of archives, and what the nodes here hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from conflux.cli import output
from conflux.cli.local_nodes import local_nodes
from conflux.cli.options import Settings
from conflux.errors import ConfluxError, OptionsError

if TYPE_CHECKING:
    from conflux.node.standing import StandingLog
    from conflux.storage.archived import Piece, ReadArchive, Run


@contextmanager
def archived_run(
    settings: Settings, place: Path, node: str | None, *, after_gap: bool
) -> Iterator[tuple[Run, str, str]]:
    """(the history, name of its cluster, that one's id), to be read before the `with` is left.

    Raises:
        ConfluxError: there are gaps, and what is behind the last one was not asked for.
        OptionsError: it isn't clear whose archives are meant.
    """
    from conflux.storage.archived import look, pieces_of, runs_of

    with ExitStack() as stack:
        # The nodes' logs first: what they cut from now on is in an archive that is looked at behind them.
        logs = _standing(settings, stack)
        archives = _chosen(look(place), node, {log.cluster_id for log in logs})
        cluster_id = next(iter(_cluster_ids(archives)))
        pieces = [piece for archive in archives for piece in pieces_of(archive)]
        labels = {archive.owner.label for archive in archives} if node is not None else None
        for log in logs:
            if log.cluster_id == cluster_id and (labels is None or log.mine.label in labels):
                pieces += _piece(log)
        yield _without_gap(runs_of(pieces), after_gap=after_gap), archives[0].owner.cluster, cluster_id


def _standing(settings: Settings, stack: ExitStack) -> list[StandingLog]:
    from conflux.node.standing import StandingLog

    found = []
    for each in local_nodes(settings.cluster_dir):
        if each.has_data:
            try:
                found.append(stack.enter_context(closing(StandingLog(each.directory))))
            except ConfluxError as error:  # the archives and the others' logs may have it all
                output.note(f"{each.label} is left out: {error}", verbosity=settings.verbosity)
    return found


def _cluster_ids(archives: list[ReadArchive]) -> set[str]:
    return {each for archive in archives for each in archive.cluster_ids}


def _chosen(archives: list[ReadArchive], node: str | None, here: set[str]) -> list[ReadArchive]:
    """The archives that are meant, all of one cluster."""
    if node is not None:
        named = [each for each in archives if each.owner.label == node]
        matches = named or [each for each in archives if each.owner.identity.startswith(node)]
        if not matches:
            known = ", ".join(archive.owner.label for archive in archives)
            raise OptionsError(f"there is no archive of a node {node}", hint=f"There are those of {known}.")
        archives = matches
    archives = [archive for archive in archives if archive.segments]
    if not archives:
        raise ConfluxError("nothing was archived yet", hint="`conflux export FILE` writes what the nodes hold.")
    if len(_cluster_ids(archives)) > 1:
        archives = [archive for archive in archives if archive.cluster_ids <= here]
    if len(_cluster_ids(archives)) != 1:
        raise OptionsError("these are archives of several clusters", hint="Name one node's with --node, or DIR/LABEL.")
    return archives


def _piece(log: StandingLog) -> list[Piece]:
    """What a node's directory still holds; nothing where nothing is committed there."""
    from conflux.cli.export import saved_base
    from conflux.storage.archived import Piece

    last_index = log.state.commit_index
    if last_index < log.first_index:
        return []
    base = saved_base(log)
    return [
        Piece(
            first_index=log.first_index,
            last_index=last_index,
            node=log.mine.label,
            app=log.mine.app,
            app_version=log.mine.app_version,
            base=base,
            open=lambda: (log.chunks() if base is not None else iter(()), log.entries(last_index)),
        )
    ]


def _without_gap(runs: list[Run], *, after_gap: bool) -> Run:
    if len(runs) > 1 and not after_gap:
        first, last = runs[-2].last_index + 1, runs[-1].first_index - 1
        raise ConfluxError(
            f"entries {first} to {last} are in no archive there, and in no log here",
            hint="Add an archive that has them, or write only what is behind them with --after-gap.",
        )
    run = runs[-1].replayable()
    if run is None:
        first, last = runs[-1].first_index, runs[-1].last_index
        raise ConfluxError(
            f"no state leads to the entries {first} to {last}, and those before them are missing",
            hint="Put the files of the archive back that were there before them.",
        )
    return run
