"""`conflux bench`: how fast a cluster is, and what keeps it from being faster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.bench_limits import Processors, Seen, limit_of, local_pids, sync_latency_ms
from conflux.cli.bench_load import Job, Load, histogram, percentiles_ms
from conflux.cli.options import Settings, command
from conflux.cli.perform import as_text, parsed
from conflux.cli.status import look
from conflux.errors import NotApplied, OptionsError

if TYPE_CHECKING:
    from conflux.client.client import Client

PROGRESS_SECONDS = 1.0
ROUND_TRIPS = 20
BAR_WIDTH = 40
SIZE_BYTES_MAX = 1 << 20


@command(
    "bench",
    examples=[
        "conflux bench",
        "conflux bench --in-flight 1 --seconds 10      # the latency of one call at a time",
        "conflux --cluster shop bench --yes stock tea 1",
        "conflux bench --json | jq .per_second",
    ],
)
@click.argument("method", default="append")
@click.argument("args", nargs=-1)
@click.option("--parse-json", is_flag=True, help="Read each of ARGS as JSON.")
@click.option(
    "--in-flight", type=click.IntRange(1, 65_536), default=64, show_default=True, metavar="N", help="Calls at a time."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 86_400),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to measure.",
)
@click.option(
    "--warm-up",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long before that; doesn't count.",
)
@click.option(
    "--size",
    "size_bytes",
    type=click.IntRange(12, SIZE_BYTES_MAX),
    default=32,
    show_default=True,
    metavar="BYTES",
    help="Length of the text that each call brings, where ARGS are none.",
)
@click.option("--yes", is_flag=True, help="Also on a cluster that holds actions already.")
def bench(settings: Settings, method: str, args: tuple[str, ...], parse_json: bool, yes: bool, **load: Any) -> None:
    """Perform METHOD again and again, N calls at a time, and show how many are committed a second.

    Without ARGS each call brings a text of its own; METHOD is then `append`, of the default app, unless it is given.
    What the calls do to the state stays there, so a cluster that holds actions is only loaded with --yes. Shows how the
    latencies are spread, and what limits: the processors, the disk, the network, this client, or that no more calls
    were made.
    """
    method, *texts = [as_text(argument) for argument in (method, *args)]
    arguments = [parsed(number, text) for number, text in enumerate(texts, 1)] if parse_json else texts
    with settings.client() as client:
        status = look(settings, client, settings.timeout())
        _refuse_used(status["nodes"], yes=yes)
        job = Job(method, tuple(arguments), load["size_bytes"])
        result = _measure(settings, client, job, local_pids(status["nodes"]), load)
    if settings.json:
        output.print_json(result)
    else:
        _show(result)


def _refuse_used(nodes: list[dict[str, Any]], *, yes: bool) -> None:
    held = max((node["applied_revision"] or 0 for node in nodes), default=0)
    if held and not yes:
        hint = (
            "Say --yes to load it all the same, or start a cluster for it: conflux --cluster bench start --ephemeral."
        )
        raise OptionsError(f"the cluster holds {held:,} actions, and a load adds thousands that stay", hint=hint)


def _measure(
    settings: Settings, client: Client, job: Job, pids: dict[str, int], asked: dict[str, Any]
) -> dict[str, Any]:
    sync_ms = sync_latency_ms(settings.cluster_dir) if pids else None
    round_trip_ms = _round_trip_ms(client)
    load = Load(client, job, in_flight=asked["in_flight"], timeout_s=settings.timeout())
    load.start()
    load.wait(asked["warm_up"])
    load.count_from_now()
    processors = Processors(pids)
    seconds = _run(settings, load, asked["seconds"])
    own, nodes, machine = processors.shares()
    load.stop()
    load.wait(settings.timeout() + 1)
    if not load.latencies_s:
        raise load.first_failure or NotApplied("nothing was answered in time")
    latency_ms = percentiles_ms(load.latencies_s)
    seen = Seen(
        in_flight=asked["in_flight"],
        p50_ms=latency_ms["p50"] or 0.0,
        sync_ms=sync_ms,
        round_trip_ms=round_trip_ms,
        client_cpu_share=own,
        node_cpu_shares=nodes,
        machine_cpu_share=machine,
    )
    limit, why = limit_of(seen)
    return {
        "method": job.method,
        "in_flight": asked["in_flight"],
        "seconds": round(seconds, 3),
        "committed": len(load.latencies_s),
        "per_second": round(len(load.latencies_s) / seconds, 1),
        "latency_ms": latency_ms,
        "histogram": histogram(load.latencies_s),
        "rejected": load.rejected,
        "failed": load.failed,
        "first_failure": None if load.first_failure is None else str(load.first_failure),
        "limit": limit,
        "why": why,
        "sync_ms": None if sync_ms is None else round(sync_ms, 3),
        "round_trip_ms": round(round_trip_ms, 3),
        "client_cpu_share": round(own, 3),
        "node_cpu_shares": {label: round(share, 3) for label, share in nodes.items()},
        "machine_cpu_share": None if machine is None else round(machine, 3),
    }


def _round_trip_ms(client: Client) -> float:
    """The median time of a question that a node answers from memory."""
    seconds = []
    for _ in range(ROUND_TRIPS):
        began_s = time.monotonic()
        client.status()
        seconds.append(time.monotonic() - began_s)
    return sorted(seconds)[ROUND_TRIPS // 2] * 1000


def _run(settings: Settings, load: Load, seconds: float) -> float:
    """Let it run, and tell how it goes; how long it was in fact."""
    began_s = time.monotonic()
    told = 0
    while (left_s := began_s + seconds - time.monotonic()) > 0:
        if load.wait(min(PROGRESS_SECONDS, left_s)):
            break  # too much failed
        now = len(load.latencies_s)
        passed_s = time.monotonic() - began_s
        if not settings.json:
            output.note(f"{passed_s:>5.1f} s   {now - told:>9,} committed", verbosity=settings.verbosity)
        told = now
    return time.monotonic() - began_s


def _show(result: dict[str, Any]) -> None:
    rate = output.styled(f"{result['per_second']:,.0f} a second", bold=True)
    output.print_line(f"{result['method']}, {result['in_flight']} in flight: {rate}")
    latency_ms = result["latency_ms"]
    output.print_line("latency   " + "   ".join(f"{name} {_milliseconds(ms)}" for name, ms in latency_ms.items()))
    for line in histogram_lines(result["histogram"]):
        output.print_line(line)
    if result["rejected"]:
        output.print_line(f"rejected by the method: {result['rejected']:,}")
    if result["failed"]:
        output.print_line(f"failed: {result['failed']:,}, the first with: {result['first_failure']}")
    output.print_line(f"limited by {_LIMITS[result['limit']]}: {result['why']}")
    if result["sync_ms"] is not None:
        ratio = latency_ms["p50"] / result["sync_ms"]
        output.print_line(
            f"the disk syncs a block in {_milliseconds(result['sync_ms'])}: p50 is {ratio:.1f} times that"
        )


_LIMITS = {
    "cpu": "the processors",
    "client": "this client",
    "disk": "the disk",
    "network": "the network",
    "load": "the load",
}


def histogram_lines(buckets: list[dict[str, Any]]) -> list[str]:
    """A bar a bucket, the fullest over the whole width."""
    fullest = max((bucket["count"] for bucket in buckets), default=0)
    total = sum(bucket["count"] for bucket in buckets)
    lines = []
    for bucket in buckets:
        bar = "#" * -(-bucket["count"] * BAR_WIDTH // fullest)
        bound = "more" if bucket["up_to_ms"] is None else _milliseconds(bucket["up_to_ms"])
        lines.append(f"  up to {bound:>8}  {bar:<{BAR_WIDTH}} {bucket['count'] / total:>7.2%}")
    return lines


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"
