"""Hunts every mutant and prints what found it: `python -m tests.teeth [--jobs 2] [NAME …]`, or `make teeth`.

`--write-docs` writes docs/internals/mutants.md instead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Sequence

from tests.teeth.kill import SECONDS_MAX, Kill, Survived, hunt_down
from tests.teeth.page import PAGE, page
from tests.teeth.registry import MUTANTS

WORDS_MAX = 100


def hunted(name: str) -> tuple[str, Kill | str]:
    """A mutant's name and its kill, or why there is none."""
    mutant = next(each for each in MUTANTS if each.name == name)
    try:
        return name, hunt_down(mutant)
    except Survived as error:
        return name, str(error)
    except Exception as error:  # a mutant that doesn't fit the code any more
        return name, f"{type(error).__name__}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    options = _parser().parse_args(arguments)
    if options.write_docs:
        PAGE.write_text(page(), "utf-8")
        return 0
    names = options.names or [mutant.name for mutant in MUTANTS]
    survivors = []
    slowest = 0.0
    for name, kill in _kills(names, options.jobs):
        if isinstance(kill, str):
            survivors.append(name)
            _say(f"{name:58} SURVIVED: {kill}")
            continue
        slowest = max(slowest, kill.seconds)
        _say(f"{name:58} {kill.seconds:6.1f} s  {kill.attempt[:40]}: {kill.words[:WORDS_MAX]}")
    _say(f"{len(names)} mutants, {len(survivors)} survived; the slowest took {slowest:.1f} s of {SECONDS_MAX:.0f} s")
    return 1 if survivors else 0


def _kills(names: list[str], jobs: int) -> Iterator[tuple[str, Kill | str]]:
    if jobs == 1:
        yield from map(hunted, names)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=1) as pool:  # a process each: no mutant meets the traces of another
        yield from pool.imap(hunted, names, chunksize=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.teeth", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="hunt these only")
    parser.add_argument("--jobs", type=int, default=2, help="processes that hunt at the same time")
    parser.add_argument("--write-docs", action="store_true", help=f"write {PAGE.name}")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
