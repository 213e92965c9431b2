"""How long a command takes, as a whole process: `conflux --help`, and a perform on a local cluster of five.

Each is run in turn with `python -c pass`, so that the ratio holds on a machine that is slower or busier than ours.

    python benchmarks/startup.py [--runs 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

CONFLUX = [sys.executable, "-m", "conflux"]
NOTHING = [sys.executable, "-c", "pass"]


def milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def compare(name: str, command: list[str], runs: int) -> dict[str, object]:
    """Median time of a command and of an empty Python, run in turn."""
    milliseconds(command)
    pairs = [(milliseconds(command), milliseconds(NOTHING)) for _ in range(runs)]
    return {
        "what": name,
        "median_ms": round(statistics.median(pair[0] for pair in pairs), 1),
        "python_ms": round(statistics.median(pair[1] for pair in pairs), 1),
        "ratio": round(statistics.median(pair[0] / pair[1] for pair in pairs), 2),
        "worst_ms": round(max(pair[0] for pair in pairs), 1),
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [compare("conflux --help", [*CONFLUX, "--help"], options.runs)]
    with tempfile.TemporaryDirectory() as directory:
        cluster = [*CONFLUX, "--data-dir", directory]
        subprocess.run([*cluster, "start", "--cluster-size", "5", "--detach"], check=True, stdout=subprocess.DEVNULL)
        try:
            rows.append(compare("conflux perform append foo", [*cluster, "perform", "append", "foo"], options.runs))
            rows.append(compare("conflux state", [*cluster, "state"], options.runs))
        finally:
            subprocess.run([*cluster, "stop"], check=True, stdout=subprocess.DEVNULL)
    for row in rows:
        if options.json:
            print(json.dumps(row))
        else:
            print(
                f"{row['what']:<28} {row['median_ms']:>7} ms   python alone {row['python_ms']:>5} ms   "
                f"ratio {row['ratio']:>5}   worst {row['worst_ms']:>6} ms"
            )


if __name__ == "__main__":
    main()
