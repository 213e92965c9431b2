"""Measures Conflux beside its peers, in turn.

For example: python -m benchmarks.run --only outside,inside --nodes 3 --inflight 1,64,256
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import throughput
from benchmarks.machine import Theft, describe
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.context import Context
from benchmarks.systems import SYSTEMS
from benchmarks.throughput import say

HERE = Path(__file__).parent
REFERENCES = {"outside": "conflux", "inside": "conflux-embedded"}
PARTS = [*REFERENCES, *SCENARIOS]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Takes a list of names, and none that isn't known."""

    def names(text: str) -> list[str]:
        if unknown := [name for name in text.split(",") if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
        return text.split(",")

    return names


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", type=names_of(PARTS), default=PARTS, metavar="PART,…", help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--systems", type=names_of(SYSTEMS), default=list(SYSTEMS), metavar="NAME,…", help=f"of {', '.join(SYSTEMS)}"
    )
    parser.add_argument("--nodes", type=numbers, default=[3], metavar="N,…", help="of outside and inside")
    parser.add_argument("--inflight", type=numbers, default=[1, 64, 256, 1024], metavar="N,…")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="counted, a load")
    parser.add_argument("--full", action="store_true", help="long logs, large states, more trials")
    parser.add_argument("--directory", type=Path, default=HERE / ".data", help="for the nodes' data; on a real disk")
    parser.add_argument("--output", type=Path, help="a JSON file: parts that were measured replace those in it")
    asked = parser.parse_args()
    asked.directory = asked.directory / f"run-{os.getpid()}"
    return asked


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    asked = options()
    try:
        measure(asked)
    finally:
        shutil.rmtree(asked.directory, ignore_errors=True)  # its own subdirectory


def measure(asked: argparse.Namespace) -> None:
    """All parts, one after the other; what was found is written after each."""
    results: dict[str, Any] = {}
    if asked.output and asked.output.exists():
        results = json.loads(asked.output.read_text("utf-8"))
    for part in asked.only:
        say(f"{part}:")
        machine = describe(asked.directory)
        began, theft = time.monotonic(), Theft()
        found = side_by_side(part, asked) if part in REFERENCES else scenario(part, asked)
        machine["stolen"] = theft.share()
        results[part] = {**found, "machine": machine, "took_seconds": round(time.monotonic() - began, 1)}
        if asked.output:
            asked.output.parent.mkdir(parents=True, exist_ok=True)
            asked.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def side_by_side(part: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Throughput and latency of all systems that are loaded from there."""
    systems = [name for name in asked.systems if SYSTEMS[name].place == part]
    found = throughput.compare(
        systems, asked.nodes, asked.inflight, rounds=asked.rounds, seconds=asked.seconds, directory=asked.directory
    )
    found["summary"] = throughput.summarize(found["rows"], REFERENCES[part])
    print(f"\n{part}:\n{throughput.table(found['summary'], REFERENCES[part])}")
    for gap in found["gaps"].values():
        print(f"left out: {gap}")
    return found


def scenario(part: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Its rows, and what is missing among them."""
    context = Context(asked.directory, is_full=asked.full, seconds=asked.seconds, rounds=asked.rounds)
    rows = SCENARIOS[part](context)
    return {"rows": rows, "gaps": context.gaps}


if __name__ == "__main__":
    main()
