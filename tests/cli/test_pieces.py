"""What the commands share: errors, output, names of nodes, and which argument is an option."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from conflux import errors
from conflux.cli import failure, output
from conflux.cli.failure import Mode, failure_of
from conflux.cli.identify import pick, shortened
from conflux.cli.local_nodes import by_label, local_nodes
from conflux.cli.main import group
from conflux.cli.options import Settings, settings_of
from conflux.cli.perform import as_text, options_first, parsed, perform
from conflux.discovery.local import LocalNode, Manifest, Runtime
from conflux.errors import ConfluxError, OptionsError

# ---- Errors ----


def all_errors(root: type[ConfluxError] = ConfluxError) -> list[type[ConfluxError]]:
    return [root, *(deep for child in root.__subclasses__() for deep in all_errors(child))]


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_is_one_line_with_its_own_status(kind, capsys):
    def fail() -> int:
        raise kind("it went\nwrong")

    assert failure.guarded(fail, Mode()) == kind.exit_status
    line = capsys.readouterr().err
    assert line.startswith("error: it went wrong") and line.count("\n") == 1
    assert line.rstrip().endswith(kind.hint or "wrong")


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_is_an_object_with_json(kind, capsys):
    def fail() -> int:
        raise kind("it went\nwrong", hint="do this")

    assert failure.guarded(fail, Mode(json=True)) == kind.exit_status
    assert json.loads(capsys.readouterr().err) == {
        "error": kind.__name__,
        "message": "it went\nwrong",
        "hint": "do this",
        "exit_status": kind.exit_status,
        "retryable": kind.retryable,
    }


def test_what_the_system_refuses_names_the_file():
    try:
        Path("/nowhere/at/all").read_bytes()
    except OSError as error:
        found = failure_of(error)
    said = "error: /nowhere/at/all: No such file or directory. See what is there: ls -ld /nowhere/at"
    assert (found.exit_status, found.as_line()) == (1, said)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "Make room there: df -h '/my data'"),
        (errno.EDQUOT, "Make room there: df -h '/my data'"),
        (errno.EACCES, "Only its owner may: ls -ld '/my data/n1' '/my data'"),
        (errno.EPERM, "Only its owner may: ls -ld '/my data/n1' '/my data'"),
        (errno.ENOTDIR, "See what is there: ls -ld '/my data'"),
        (errno.EIO, ""),
    ],
)
def test_what_the_system_refuses_of_a_file_comes_with_what_to_do(number, hint):
    found = failure_of(OSError(number, os.strerror(number), "/my data/n1"))
    assert (found.message, found.hint) == (f"/my data/n1: {os.strerror(number)}", hint)
    assert failure_of(OSError(number, os.strerror(number))).hint == ""


def test_a_file_of_this_very_directory_is_looked_for_here():
    found = failure_of(OSError(errno.ENOENT, os.strerror(errno.ENOENT), "n1"))
    assert found.hint == "See what is there: ls -ld ."


def test_ctrl_c_is_130_and_a_closed_pipe_is_0(capfd):
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert failure.guarded(interrupt, Mode()) == 130
    assert capfd.readouterr().err == ""


def test_a_message_is_followed_by_its_hint_as_a_sentence():
    assert failure_of(ConfluxError("no", hint="Do.")).as_line() == "error: no. Do."
    assert failure_of(ConfluxError("No.", hint="Do.")).as_line() == "error: No. Do."
    assert failure_of(ConfluxError("")).as_line() == "error: ConfluxError"


@pytest.mark.parametrize(
    ("arguments", "environment", "mode"),
    [
        ([], {}, Mode()),
        (["--json"], {}, Mode(json=True)),
        (["state", "--output", "json"], {}, Mode(json=True)),
        (["state", "--output=json"], {}, Mode(json=True)),
        (["--json", "--output", "text"], {}, Mode()),
        (["perform", "append", "--", "--json", "-v"], {}, Mode()),
        (["state"], {"CONFLUX_OUTPUT": "json"}, Mode(json=True)),
        (["state", "--output", "text"], {"CONFLUX_OUTPUT": "json"}, Mode()),
        (["-v"], {}, Mode(verbose=True)),
        (["state", "-qvv"], {}, Mode(verbose=True)),
        (["perform", "append", "-10v"], {}, Mode()),
    ],
)
def test_how_errors_are_told_is_found_without_parsing(arguments, environment, mode):
    assert Mode.of(arguments, environment) == mode


# ---- Settings ----


def settings(*arguments: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    """What the command `state` would be given."""
    for name in ("CLUSTER", "DATA_DIR", "ENDPOINT", "KEY", "OUTPUT", "TIMEOUT"):
        monkeypatch.delenv(f"CONFLUX_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"CONFLUX_{name}", value)
    with group.make_context("conflux", [*arguments]) as ctx:
        name, command, rest = group.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert command is not None
        with command.make_context(name, rest, parent=ctx) as inner:
            return settings_of(inner)


def test_the_defaults(monkeypatch):
    found = settings("state", monkeypatch=monkeypatch)
    assert (found.cluster, found.endpoints, found.key, found.json, found.verbosity) == ("conflux", (), None, False, 0)
    assert (found.timeout(), found.timeout(30)) == (10, 30)
    assert found.data_dir.name == "conflux" and found.cluster_dir == found.data_dir / "conflux"


def test_a_data_directory_that_the_environment_leaves_empty_is_the_default(monkeypatch):
    default = settings("state", monkeypatch=monkeypatch).data_dir
    assert settings("state", monkeypatch=monkeypatch, DATA_DIR="").data_dir == default


def test_all_options_before_and_after(monkeypatch):
    said = ["--cluster", "shop", "--data-dir", "/d", "--key", "k", "--timeout", "2.5", "--endpoint", "a:1", "-vv", "-q"]
    for arguments in (["--json", *said, "state"], ["state", *said, "--json"]):
        found = settings(*arguments, monkeypatch=monkeypatch)
        assert (found.cluster, found.data_dir, found.key) == ("shop", Path("/d"), Path("k"))
        assert (found.endpoints, found.timeout(), found.json, found.verbosity) == (("a:1",), 2.5, True, 1)


def test_endpoints_add_up_and_for_the_rest_the_last_word_counts(monkeypatch):
    found = settings(
        *("--endpoint", "a:1", "--cluster", "one", "--json", "state"),
        *("--endpoint", "b:2", "--cluster", "two", "--output", "text"),
        monkeypatch=monkeypatch,
        ENDPOINT="c:3",
        CLUSTER="three",
    )
    assert (found.endpoints, found.cluster, found.json) == (("a:1", "b:2"), "two", False)


@pytest.mark.parametrize("text", ["a:1 b:2", "a:1,b:2", "a:1, b:2"])
def test_all_of_it_from_the_environment(monkeypatch, text):
    found = settings(
        *("state",),
        monkeypatch=monkeypatch,
        CLUSTER="shop",
        DATA_DIR="/d",
        KEY="k",
        TIMEOUT="2.5",
        OUTPUT="json",
        ENDPOINT=text,
    )
    assert (found.cluster, found.data_dir, found.key) == ("shop", Path("/d"), Path("k"))
    assert (found.endpoints, found.timeout(), found.json) == (("a:1", "b:2"), 2.5, True)


# ---- Output ----


@dataclass
class Ascii(io.TextIOWrapper):
    """A stdout of a locale that knows no more."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize(("encoding", "text"), [("ascii", '"\\u20ac"'), ("latin-1", '"\\u20ac"'), ("utf-8", '"€"')])
def test_json_stays_json_in_every_locale(monkeypatch, encoding, text):
    monkeypatch.setattr(sys, "stdout", Ascii(encoding))
    assert output.to_json("€") == text


def test_text_that_a_locale_cannot_carry_is_escaped(monkeypatch):
    stream = Ascii("ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    output.prepare()
    output.print_line("€")
    output.flush()
    assert stream.buffer.getvalue() == b"\\u20ac\n"


def test_times_are_rfc_3339_to_the_microsecond():
    assert output.utc(0) == "1970-01-01T00:00:00.000000Z"
    assert output.utc(1_893_456_000_123_457) == "2030-01-01T00:00:00.123457Z"
    assert output.utc(2**64 - 1) is None


# ---- Names of nodes ----


@dataclass(frozen=True)
class Node:
    identity: str
    label: str


NODES = [Node("ab01" * 8, "n1"), Node("ab02" * 8, "n2"), Node("cd03" * 8, "ab02")]


@pytest.mark.parametrize(
    ("text", "label"), [("n1", "n1"), ("ab01", "n1"), ("AB01", "n1"), ("c", "ab02"), ("ab02", "ab02"), ("ab02a", "n2")]
)
def test_a_label_or_the_beginning_of_an_id_names_a_node(text, label):
    assert pick(NODES, text).label == label


@pytest.mark.parametrize(("text", "said"), [("ab", "n1 (ab01ab01), n2 (ab02ab02)"), ("", "there is no"), ("n", "n1")])
def test_other_names_are_refused_with_the_candidates(text, said):
    with pytest.raises(OptionsError, match=r"ambiguous|no node") as caught:
        pick(NODES, text)
    assert said in str(caught.value) and caught.value.exit_status == 2


def test_ids_are_shortened_to_what_names_them_alone():
    twins = ["a" * 31 + "b", "a" * 31 + "c", "b" * 32]
    assert shortened(twins[0], twins) == twins[0]
    assert shortened(twins[2], twins) == "b" * 8


def test_labels_are_sorted_as_people_count():
    assert by_label(["n10", "n2", "b", "n1", "n02"]) == ["b", "n1", "n02", "n2", "n10"]


def test_the_nodes_here_come_from_the_manifest_and_the_directories(tmp_path):
    Manifest(
        cluster="shop", size=3, app="a:b", app_dir="/", nodes=(LocalNode(label="n1", identity="a" * 32, address="h:1"),)
    ).save(tmp_path)
    (tmp_path / "n2").mkdir()
    Runtime(pid=1, endpoint="h:2", label="n2", identity="b" * 32).save(tmp_path / "n2")
    (tmp_path / "n3").mkdir()
    (tmp_path / "n3" / "data.mdb").touch()
    (tmp_path / "mine").mkdir()
    found = [(node.label, node.identity, node.endpoint, node.has_data) for node in local_nodes(tmp_path)]
    assert found == [
        ("n1", "a" * 32, "h:1", False),
        ("n2", "b" * 32, "h:2", False),
        ("n3", "", None, True),
    ]


def test_there_are_no_nodes_where_there_is_no_directory(tmp_path):
    assert local_nodes(tmp_path / "nothing") == []


# ---- Arguments of perform ----


@pytest.mark.parametrize(
    ("arguments", "ours", "theirs"),
    [
        (["append", "foo"], [], ["append", "foo"]),
        (["append", "-1"], [], ["append", "-1"]),
        (["append", "-"], [], ["append", "-"]),
        (["append", ""], [], ["append", ""]),
        (["append", "-10q"], [], ["append", "-10q"]),
        (["append", "--unknown", "-x"], [], ["append", "--unknown", "-x"]),
        (["append", "--json", "foo"], ["--json"], ["append", "foo"]),
        (["append", "foo", "--timeout", "-1"], ["--timeout", "-1"], ["append", "foo"]),
        (["--timeout=3", "append", "-vq"], ["--timeout=3", "-vq"], ["append"]),
        (["append", "--", "--json", "--"], [], ["append", "--json", "--"]),
        (["--parse-json", "append", "-1"], ["--parse-json"], ["append", "-1"]),
    ],
)
def test_what_is_no_option_of_ours_is_an_argument(arguments, ours, theirs):
    ctx = click.Context(perform)
    assert options_first(perform.get_params(ctx), arguments, ctx) == [*ours, "--", *theirs]


@pytest.mark.parametrize("text", ["foo", "", "{", "[1,]", "'x'", "[" * 100_000])
def test_an_argument_that_is_not_json_is_named(text):
    with pytest.raises(OptionsError, match=r"argument 2, .* is not JSON"):
        parsed(2, text)


def test_bytes_of_another_locale_are_utf_8(monkeypatch):
    assert as_text("é€") == "é€"
    assert as_text("é".encode().decode("ascii", "surrogateescape")) == "é"
    with pytest.raises(OptionsError, match="not UTF-8"):
        as_text(b"\xe9".decode("ascii", "surrogateescape"))


def test_errors_of_the_tree_are_all_here():
    assert {kind.__name__ for kind in all_errors()} >= {"Unreachable", "OutcomeUnknown", "MethodRejected"}
    assert errors.Unreachable in all_errors()
