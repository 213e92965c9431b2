"""Measures Conflux beside its peers, in turn.

For example: python -m benchmarks.run --only outside,inside --nodes 3 --inflight 1,64,256
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import throughput
from benchmarks.machine import describe
from benchmarks.systems import SYSTEMS

HERE = Path(__file__).parent
REFERENCES = {"outside": "conflux", "inside": "conflux-embedded"}


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", default="outside,inside", metavar="PARTS", help="of outside, inside")
    parser.add_argument("--systems", default="", metavar="NAMES", help=f"of {', '.join(SYSTEMS)}; default: all")
    parser.add_argument("--nodes", type=numbers, default=[3], metavar="N,…")
    parser.add_argument("--inflight", type=numbers, default=[1, 64, 256, 1024], metavar="N,…")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="counted, a load")
    parser.add_argument("--directory", type=Path, default=HERE / ".data", help="for the nodes' data; on a real disk")
    parser.add_argument("--output", type=Path, help="a file for the results, as JSON")
    return parser.parse_args()


def main() -> None:
    asked = options()
    results: dict[str, Any] = {"machine": describe(asked.directory), "command": sys.argv[1:]}
    wanted = asked.systems.split(",") if asked.systems else list(SYSTEMS)
    for place in asked.only.split(","):
        systems = [name for name in wanted if SYSTEMS[name].place == place]  # type: ignore[attr-defined]
        found = throughput.compare(
            systems, asked.nodes, asked.inflight, rounds=asked.rounds, seconds=asked.seconds, directory=asked.directory
        )
        found["summary"] = throughput.summarize(found["rows"], REFERENCES[place])
        results[place] = found
        print(f"\n{place}:\n{throughput.table(found['summary'], REFERENCES[place])}")
        for gap in found["gaps"].values():
            print(f"left out: {gap}")
        if asked.output:
            asked.output.parent.mkdir(parents=True, exist_ok=True)
            asked.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
