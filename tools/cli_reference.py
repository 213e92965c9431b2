"""Prints docs/reference/cli.md: the command line, from the commands themselves.

    python tools/cli_reference.py > docs/reference/cli.md

What click can't tell stands here as data: the fields of --json, and what an exit status means.
tests/test_docs.py holds the page against this, and the fields against what the commands print.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click

from conflux import errors
from conflux.cli.ending import Interrupted
from conflux.cli.global_options import GlobalOption
from conflux.cli.groups import CommandGroup
from conflux.cli.main import COMMANDS, EXAMPLE, HELP, group
from conflux.cli.options import Command
from conflux.cli.output import OutputFailed
from conflux.errors import ConfluxError
from conflux.transport.address import PortTaken

Fields = dict[str, str]  # name of a field → what it holds

STATUSES = {
    0: "done; `start` also when Ctrl-C or SIGTERM ended it",
    1: "an error: already running, another size or app, damaged, a port that is taken …",
    2: "wrong usage: an option, an argument, a key file, a value that Conflux does not carry",
    3: "no node answers",
    4: "not applied: no leader, busy, not ready in time. Nothing was changed",
    5: "rejected by the method or the reducer, or there is no such method. The state was not changed",
    6: "the outcome is not known: the time was over after the call was sent",
    130: "interrupted by Ctrl-C; a call or a change of members that was on its way says that it may come about",
    143: "ended by SIGTERM; the same",
}

NOTES = {
    "start": "With `--detach` the default of `--timeout` is 30 seconds. Directories that are there already: "
    "[beginnings](beginnings.md). Several machines: [five machines](../howto/five-machines.md).",
    "perform": "What each outcome stands for: [answers](answers.md).",
    "bench": "One call at a time gives the latency, many the throughput. What the nodes and the disk took is only "
    "known of nodes on this machine. What Conflux reaches beside its peers: [performance](../performance.md).",
    "members list": "What each of these commands is for: [members](../howto/members.md).",
    "members add": "The default of `--timeout` is 60 seconds, where it waits for the node to catch up.",
    "members promote": "The default of `--timeout` is 60 seconds.",
    "members replace": "The default of `--timeout` is 60 seconds.",
    "state": "What else can be done with the past: [backups, and the past](../howto/backup.md).",
    "snapshot save": "[Backups](../howto/backup.md). The default of `--timeout` is 60 seconds.",
    "snapshot restore": "[Backups](../howto/backup.md).",
    "export": "Only of nodes whose directories are on this machine. [Backups](../howto/backup.md).",
    "inspect-archive": "[Keep what is cut](../howto/backup.md#keep-what-is-cut).",
    "recover": "[A majority is lost for good](../howto/recover.md).",
    "keygen": "The file has mode 0600; a key file that others can read is refused wherever it is used.",
    "inspect-log": "Only of nodes whose directories are on this machine.",
}

ENTRY: Fields = {
    "index": "place in the log, from 1",
    "term": "of the leader that made the entry",
    "kind": "`actions`, `noop`, `session`, `time`, `membership`, `other`",
    "time": "the leader's wall clock",
    "records": "how many: calls, and sessions opened or closed",
    "actions": "a list of `{revision, method, action}`",
    "rejections": "a list of `{method, type, message, by_reducer}`",
    "nothings": "how many calls dispatched no action",
    "sessions_opened": "how many",
    "sessions_closed": "how many",
    "committed": "true where the entry is known to be committed by what the directory says",
    "bytes": "length of the payload",
    "checksum_ok": "false: the entry is damaged, and all other fields but `index` and `problem` are null",
    "problem": "what is wrong with the entry",
}

ROW: Fields = {
    "id": "identity: 32 hex digits",
    "label": "what `--id` names",
    "role": "`follower`, `pre-candidate`, `candidate`, `leader`; `forming` before there is a cluster",
    "standing": "`voter`; `learner`; `joining`: a learner that becomes a voter; `candidate`: waits to join; `removed`",
    "term": "its term",
    "commit_index": "index of the last entry that it knows to be committed",
    "applied_revision": "revision of the last action that it has folded",
    "lag": "how many entries its log is behind the leader's",
    "log_hash": "rolls over all entries: equal at equal `applied_revision`",
    "state_hash": "of the state at `state_hash_revision`",
    "state_hash_revision": "on an idle cluster that of the log's end",
    "agreed_revision": "the last at which a majority is known to have its state; only hash points are compared",
    "diverged_revision": "where its state is not the others': as it was found, then as it began; else null",
    "first_index": "first entry of its log",
    "last_index": "last entry of its log",
    "snapshot_index": "last entry that a snapshot stands for; 0: there is none",
    "endpoint": "HOST:PORT that others dial",
    "host": "name of its machine",
    "pid": "its process; null where it does not answer",
    "app": "name of its app",
    "app_version": "version of its app",
    "healthy": "true where `problem` is null",
    "problem": "why it does not serve, in one line",
    "data_dir": "its directory, on its machine",
    "log_file": "its log file, on its machine",
    "snapshot_problem": "why the last snapshot came to nothing, or null",
    "archive": "`{directory, last_index, problem}` of where it keeps what is cut of its log; null: it keeps nothing",
    "installing": "`{index, bytes, bytes_total}` of the snapshot that it fetches, or null",
    "sending": "by identity of who fetches a snapshot here: `{index, chunks, chunks_total}`",
    "sessions": "how many are open",
    "stalls": "how often its loop was blocked for longer than a heartbeat",
    "longest_gap_ms": "the longest time that its loop was blocked",
    "slow_code": "`{what, seconds}` of the user's code that held up its loop for longest, beyond a heartbeat; or null",
}

CHANGE: Fields = {
    "index": "of the log entry; null where the answer was lost and the members show that it was made",
    "id": "its identity",
    "label": "its label",
}

NEW_CLUSTER: Fields = {
    "cluster": "its name",
    "revision": "of the last action in its state",
    "set_aside": "where the old directories are now; else null",
    "nodes": "a list of `{id, label, data_dir}`",
}

# Command → (what one object stands for, its fields). What `status` and `inspect-log` nest has tables of its own.
JSON: dict[str, list[tuple[str, Fields]]] = {
    "start": [
        (
            "With `--detach`, an object a node that was started",
            {
                "id": "identity: 32 hex digits",
                "label": "what `--id` names",
                "endpoint": "HOST:PORT that others dial",
                "pid": "its process",
                "data_dir": "its directory",
                "log_file": "its log file",
            },
        ),
        ("Without `--detach`, an object as `status` prints it, whenever it changes", {}),
    ],
    "stop": [("One object", {"stopped": "a list of labels: of those that ran"})],
    "wait": [
        (
            "One object",
            {"cluster": "its name", "revision": "of the state that was read", "seconds": "how long it took"},
        )
    ],
    "perform": [
        (
            "One object",
            {
                "revision": "of the action; null where nothing was dispatched",
                "index": "of the log entry",
                "term": "of the log entry",
                "action": "the action; null where nothing was dispatched",
            },
        )
    ],
    "watch": [
        (
            "An object an action",
            {
                "revision": "counts actions, from 1",
                "index": "of the log entry",
                "term": "of the log entry",
                "time": "the leader's wall clock",
                "method": "that dispatched it",
                "action": "the action",
            },
        ),
        (
            "With `--state` also",
            {"state_revision": "of the state: that of the action or a later one", "state": "the state"},
        ),
        (
            "Where actions are compacted away, one object in the place of all up to a revision",
            {"gap": "true", "revision": "of the last action in the state", "state": "the state"},
        ),
    ],
    "state": [
        ("One object", {"revision": "of the last action in it", "state": "the state"}),
        (
            "With `--diff`",
            {
                "from_revision": "A",
                "to_revision": "B",
                "added": "a list of `{path, value}`; a path is a list of keys and places",
                "removed": "a list of `{path, value}`",
                "changed": "a list of `{path, before, after}`",
            },
        ),
    ],
    "status": [
        (
            "One object; with `--watch` one a second",
            {
                "cluster": "its name",
                "cluster_id": "hash of what it was formed from; null before that",
                "size": "how many nodes it has when it is formed",
                "leader": "id of the leader, or null",
                "term": "the highest that a node tells",
                "quorum": "how many voters are needed",
                "answering": "how many voters answered",
                "waiting_for": "who or what is missing while it forms; else null",
                "replacing": "`{old, new}`: identities of a member and of who is about to take its place; or null",
                "candidates": "a list of `{id, label, endpoint}`: nodes that wait to join",
                "nodes": "a list of rows",
            },
        ),
        ("A row of `nodes`; of a node that does not answer most fields are null", ROW),
    ],
    "members list": [
        (
            "One object",
            {
                "members": "a list of rows: the fields of `status` of the same names",
                "candidates": "a list of `{id, label, endpoint}`: nodes that wait to join",
                "replacing": "`{old, new}`: identities of a member and of who is about to take its place; or null",
            },
        )
    ],
    "members add": [
        ("One object", CHANGE | {"standing": "`voter`, `learner` or `joining`"}),
        ("Without LABEL", {"token": "lets one node in, within a day", "line": "the command that starts it"}),
    ],
    "members promote": [("One object", CHANGE | {"standing": "`voter` or `joining`"})],
    "members replace": [
        (
            "One object",
            {"index": CHANGE["index"], "old": "identity of who is replaced", "label": "its label"},
        )
    ],
    "members remove": [("One object", CHANGE)],
    "transfer-leadership": [("One object", {"leader": "identity of who leads now", "term": "its term"})],
    "snapshot now": [
        (
            "An object a node",
            {
                "node": "its identity",
                "label": "its label",
                "index": "of the last entry in the snapshot",
                "revision": "of the last action in it",
                "bytes": "its size; null where it was there already",
            },
        )
    ],
    "snapshot save": [
        (
            "One object",
            {
                "path": "of the file",
                "revision": "of the last action in it",
                "index": "of the last entry in it",
                "bytes": "its size",
            },
        )
    ],
    "snapshot inspect": [
        (
            "One object",
            {
                "cluster": "that was saved: its name",
                "cluster_id": "its id",
                "saved": "when, by the clock of the machine that did",
                "app": "name of its app",
                "app_version": "version of its app",
                "revision": "of the last action in it",
                "index": "of the last entry in it",
                "term": "of that entry",
                "sessions": "how many are open in it",
                "members": "a list of `{id, label}`: those of the cluster that was saved",
                "bytes": "the file's size",
            },
        )
    ],
    "snapshot restore": [("One object", NEW_CLUSTER)],
    "export": [
        (
            "One object",
            {
                "path": "of the file",
                "node": "label of the node whose directory it was; of several, separated by commas, with `--archive`",
                "base_revision": "of the state that it begins with",
                "first_index": "of the first entry in it",
                "last_index": "of the last entry in it",
                "bytes": "its size",
            },
        )
    ],
    "replay": [
        (
            "One object",
            {
                "revision": "of the last action",
                "state_hash": "of the state there",
                "agreed_revision": "the last whose hash stands in the log, and is that of this state; or null",
                "expected": "the hash of `--expect-hash`, or null",
            },
        )
    ],
    "inspect-archive": [
        (
            "One object a node",
            {
                "directory": "of its archive",
                "label": "of the node",
                "id": "its identity",
                "cluster": "its name",
                "cluster_id": "of the cluster; null while nothing was cut",
                "runs": "a list of `{first_index, last_index, first_revision, last_revision, base_revision}`: entries "
                "without a gap; `base_revision` of the state that stands before them, or null",
                "gaps": "a list of `{first_index, last_index}`: entries that are missing between two runs",
                "files": "how many",
                "bytes": "their size",
                "problem": "what is wrong with the first file that is damaged; else null",
            },
        )
    ],
    "recover": [
        (
            "Without `--yes` (status 2)",
            {
                "cluster_id": "of the cluster that is lost",
                "survivors": "a list of `{id, label, standing, directory, term, last_index, last_term, commit_index, "
                "revision, damage}`, the most advanced first",
                "unreadable": "problems, by directory",
                "lost": "a list of `{id, label}`: voters of whom there is no directory",
                "most_advanced": "label of the first survivor",
                "complete": "true where nothing that was acknowledged can be missing",
                "missing_behind": "index of the entry behind which acknowledged ones may be missing; null: none can",
                "notes": "what may be missing and what is kept, in sentences",
            },
        ),
        ("With `--yes`", NEW_CLUSTER),
    ],
    "inspect-log": [
        (
            "First an object for the node",
            {
                "node": "its identity",
                "label": "its label",
                "term": "its term",
                "vote": "identity that it voted for in this term, or null",
                "snapshot_index": "last entry that a snapshot stands for; 0: there is none",
                "snapshot_term": "of that entry",
                "first_index": "of the log; one more than `last_index` if it is empty",
                "last_index": "of the log",
                "commit_index": "as the directory says: never too high, it may be behind what the node knows",
            },
        ),
        ("Then an object an entry", ENTRY),
    ],
    "bench": [
        (
            "One object",
            {
                "method": "that was performed",
                "in_flight": "how many calls at a time",
                "seconds": "how long it counted, the warm-up left out",
                "committed": "how many calls were answered in that time, each committed",
                "per_second": "`committed` by `seconds`",
                "latency_ms": "`{p50, p90, p99, p99.9, max}`",
                "histogram": "a list of `{up_to_ms, count}`: how many took longer than the bound before and not longer "
                "than this one; null: without a bound",
                "rejected": "how many the method rejected, the warm-up included: they count as committed",
                "failed": "how many had another outcome, the warm-up included",
                "first_failure": "of those, in words; else null",
                "limit": "`cpu`, `client`, `disk`, `network`, or `load`: no more was asked for",
                "why": "that, in a sentence",
                "sync_ms": "median of the disk below the nodes' directories, for a block; null where no node runs here",
                "round_trip_ms": "median of a question to all nodes",
                "client_cpu_share": "of one processor, used by the command itself",
                "node_cpu_shares": "label of a node that runs here → its share of one processor",
                "machine_cpu_share": "of all processors of this machine; null where that isn't known",
            },
        )
    ],
    "logs": [
        (
            "An object a line",
            {"node": "identity, null where it is not known", "label": "of the node", "line": "as it was written"},
        )
    ],
    "keygen": [("One object", {"path": "of the file", "fingerprint": "of the key: may be shown to anyone"})],
    "destroy": [
        ("One object", {"removed": "paths that are gone"}),
        ("Without `--yes` (status 2)", {"would_remove": "paths that would go"}),
    ],
    "simulate": [
        (
            "One object",
            {
                "seeds": "how many were run",
                "failed": "a list of objects `seed`, `problem`, `command`: the command shows that run again",
                "smallest": "the command of the smallest run that still fails as the first of them does; else null",
                "steps": "messages, requests and disk completions that nodes handled",
                "idle_turns": "turns of nodes in which nothing but time passed",
                "seconds": "of the processor, in all runs",
                "counts": "how often what happened, by name",
                "never": "what should happen sometimes over many seeds, and did not",
            },
        )
    ],
    "completion": [("The script is printed as it is", {})],
}

ERROR: Fields = {
    "error": "class of the error, as in the table; `UsageError` for wrong options; a Python name for the system's own",
    "message": "what happened",
    "hint": "what to do; may be empty",
    "exit_status": "the status that the command ends with",
    "retryable": "true where the same command may be repeated as it is; after `OutcomeUnknown` look at the state "
    "first, since the first call may have been applied",
}


def page() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_globals(), *_environment(), *_statuses(), *_errors(), *_commands()]) + "\n"


def commands() -> dict[str, Command]:
    """Every command by name; those of a group by both names."""
    context = click.Context(group, info_name="conflux")
    found = {}
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert isinstance(command, Command)
        if isinstance(command, CommandGroup):
            for inner in command.table:
                deeper = command.get_command(context, inner)
                assert isinstance(deeper, Command)
                found[f"{name} {inner}"] = deeper
        else:
            found[name] = command
    return found


def error_classes() -> list[type[ConfluxError]]:
    """Every class of error that a command may end with, in the order of their definition."""
    return [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, ConfluxError)] + [
        PortTaken,
        OutputFailed,
        Interrupted,
    ]


def options_of(command: click.Command, *, shared: bool) -> list[click.Option]:
    """A command's own options, or the global ones."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    return [each for each in options if (isinstance(each, GlobalOption) or each.name == "version") is shared]


def environment_of(option: click.Option) -> str | None:
    """The environment variable of an option."""
    return str(option.envvar) if option.envvar else None


def _head() -> Iterator[str]:
    yield "<!-- Written by tools/cli_reference.py: change that, or the command's own help. -->"
    yield "# The command line"
    yield ""
    yield "`conflux [GLOBAL OPTIONS] COMMAND …`; `python -m conflux` is the same."
    yield ""
    yield " ".join(HELP.split())
    yield ""
    yield from _code(EXAMPLE.splitlines())
    yield "Results go to stdout, everything else to stderr. A failure is one line that says what to do."
    yield "An option is stronger than its environment variable, that than the default."
    yield "An id can be shortened to a beginning that no other id has. Times are RFC 3339, UTC."
    yield ""


def _globals() -> Iterator[str]:
    yield "## Global options"
    yield ""
    yield "Before or after the command's name."
    yield ""
    yield from _options(options_of(group, shared=True))


def _environment() -> Iterator[str]:
    yield "## Environment"
    yield ""
    rows = {}
    for command in (group, *commands().values()):
        for option in command.params:
            if isinstance(option, click.Option) and (variable := environment_of(option)):
                rows[variable] = f"`{option.opts[0]}`" + ("; several are separated by commas" * option.multiple)
    rows["NO_COLOR"] = "no colours, whatever its value; without it there are some on a terminal"
    rows["NOTIFY_SOCKET"] = "`start` tells systemd when its nodes listen (`Type=notify`)"
    yield from _table(("variable", "stands for"), [(f"`{name}`", text) for name, text in rows.items()])


def _statuses() -> Iterator[str]:
    yield "## Exit status"
    yield ""
    yield from _table(("status", "means"), [(str(status), text) for status, text in STATUSES.items()])


def _errors() -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield "As text an error is one line: `error: MESSAGE. HINT`. With `--json` it is one object on stderr:"
    yield ""
    yield from _table(("field", "holds"), [(f"`{name}`", text) for name, text in ERROR.items()])
    yield "What nobody foresaw is a bug. With `-v` its traceback stands before the line; with `--json` it is in"
    yield "one more field, `where`."
    yield ""
    rows = []
    for each in error_classes():
        says = (inspect.getdoc(each) or "").splitlines()[0]
        rows.append((f"`{each.__name__}`", str(each.exit_status), "yes" if each.retryable else "no", says))
    yield from _table(("error", "status", "retryable", "means"), rows)


def _commands() -> Iterator[str]:
    for name, command in commands().items():
        yield f"## {name}"
        yield ""
        yield f"`{_usage(name, command)}`"
        yield ""
        yield from (" ".join(part.split()) + "\n" for part in (command.help or "").split("\n\n"))
        if name in NOTES:
            yield NOTES[name]
            yield ""
        yield from _options(options_of(command, shared=False))
        yield from _code(command.examples)
        yield from _json(name)


def _json(name: str) -> Iterator[str]:
    for title, fields in JSON[name]:
        yield f"With `--json`: {title[0].lower()}{title[1:]}{':' if fields else '.'}"
        yield ""
        if fields:
            yield from _table(("field", "holds"), [(f"`{field}`", text) for field, text in fields.items()])


def _usage(name: str, command: click.Command) -> str:
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    shown = [f"[{_metavar(each)}]…" if each.nargs == -1 else _metavar(each) for each in arguments]
    return " ".join(["conflux", name, "[OPTIONS]", *shown])


def _options(options: list[click.Option]) -> Iterator[str]:
    if options:
        yield from _table(("option", "does"), [(_names(option), _does(option)) for option in options])


def _names(option: click.Option) -> str:
    takes_value = not (option.is_flag or option.count)
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return f"{names} `{_metavar(option)}`" if takes_value else names


def _metavar(parameter: click.Parameter) -> str:
    if parameter.metavar:
        return parameter.metavar
    if isinstance(parameter.type, click.Choice):
        return "|".join(str(choice) for choice in parameter.type.choices)
    return (
        "DIR"
        if isinstance(parameter.type, click.Path) and not parameter.type.file_okay
        else str(parameter.name).upper()
    )


def _does(option: click.Option) -> str:
    """The help text, with the default and the bounds that click would add to it."""
    text = " ".join((option.help or "").split())
    more = []
    if option.show_default and option.default is not None:
        more.append(f"default: {option.default}")
    if isinstance(option.type, click.IntRange) and not option.count:
        low, high = option.type.min, option.type.max
        more += [f"{low} to {high}" if high is not None else f"from {low} on"]
    if variable := environment_of(option):
        more.append(f"`{variable}`")
    return f"{text} ({'; '.join(more)})".strip() if more else text


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _code(lines: tuple[str, ...] | list[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines)
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
