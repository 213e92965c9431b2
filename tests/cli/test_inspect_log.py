"""`conflux inspect-log` on directories of every kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from conflux.cli.entry_view import line, view
from conflux.raft.entry import Entry, Kind
from conflux.storage.lmdb_storage import LmdbStorage
from tests.cli.making import a_log, action, damage, make, many, payload
from tests.cli.running import Ran, command_line, conflux, environment, on_terminal, wait_until

IDS = {"n1": "1" * 32, "n2": "2" * 32, "n3": "3" * 32}


def inspect(data_dir: Path, *arguments: str) -> Ran:
    return conflux("inspect-log", *arguments, CONFLUX_DATA_DIR=str(data_dir))


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """One node with an entry of each kind."""
    make(tmp_path / "conflux" / "n1", a_log(), identity=IDS["n1"], commit_index=5, vote=IDS["n2"])
    return tmp_path


def test_the_first_line_is_the_nodes_hard_state(one):
    ran = inspect(one, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.lines[0] == {
        "node": IDS["n1"],
        "label": "n1",
        "term": 2,
        "vote": IDS["n2"],
        "snapshot_index": 0,
        "snapshot_term": 0,
        "first_index": 1,
        "last_index": 7,
        "commit_index": 5,
    }


def test_each_entry_is_a_line(one):
    entries = inspect(one, "--json").lines[1:]
    assert [entry["index"] for entry in entries] == [*range(1, 8)]
    kinds = ["noop", "session", "actions", "session", "time", "membership", "other"]
    assert [entry["kind"] for entry in entries] == kinds
    assert [entry["records"] for entry in entries] == [0, 1, 4, 1, 0, 0, 1]
    assert [entry["term"] for entry in entries] == [1, 1, 1, 1, 2, 2, 2]
    assert [entry["committed"] for entry in entries] == [True] * 5 + [False] * 2
    assert all(entry["checksum_ok"] and entry["bytes"] > 0 for entry in entries)
    assert {entry["time"] for entry in entries} == {"2030-01-01T00:00:00.000000Z"}
    assert entries[2]["actions"] == [
        {"revision": 1, "method": "append", "action": {"type": "append", "thing": "foo"}},
        {"revision": 2, "method": "append", "action": {"type": "append", "thing": 2}},
    ]
    assert entries[2]["rejections"] == [
        {"method": "append", "type": "ValueError", "message": "no", "by_reducer": False}
    ]
    assert entries[2]["nothings"] == 1


def test_the_text_shows_what_is_committed(one):
    ran = inspect(one)
    lines = ran.out.splitlines()
    assert lines[0] == "n1 (11111111), term 2, voted for 22222222, entries 1 to 7, committed to 5"
    assert '1: {"type": "append", "thing": "foo"}, 2: {"type": "append", "thing": 2}, 1 rejected, 1 without' in lines[3]
    assert ["uncommitted" in each for each in lines[1:]] == [False] * 5 + [True] * 2
    assert len(lines) == 8


def test_a_range(one):
    assert [each["index"] for each in inspect(one, "--json", "--from-index", "3", "--to-index", "4").lines[1:]] == [
        3,
        4,
    ]
    assert [each["index"] for each in inspect(one, "--json", "--from-index", "6").lines[1:]] == [6, 7]
    assert [each["index"] for each in inspect(one, "--json", "--to-index", "2").lines[1:]] == [1, 2]
    assert len(inspect(one, "--json", "--from-index", "70").lines) == 1


def test_a_terminal_gets_the_last_fifty_unless_it_asks(tmp_path):
    make(tmp_path / "conflux" / "n1", many(80), identity=IDS["n1"], commit_index=80)
    where = {"CONFLUX_DATA_DIR": str(tmp_path)}
    assert len(on_terminal("inspect-log", **where).splitlines()) == 51
    assert len(on_terminal("inspect-log", "--all", **where).splitlines()) == 81
    assert len(on_terminal("inspect-log", "--from-index", "11", **where).splitlines()) == 71
    assert len(inspect(tmp_path).out.splitlines()) == 81


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (("--from-index", "9"), "9 to the end"),
        (("--from-index", "5", "--to-index", "4"), "5 to 4"),
        (("--from-index", "8", "--to-index", "9"), "8 to 9"),
    ],
)
def test_a_range_without_an_entry_is_said(one, options, asked):
    ran = inspect(one, "--json", *options)
    assert (ran.status, len(ran.lines)) == (0, 1)
    assert ran.err == f"no entry of the log is in {asked}: it has 1 to 7\n"
    assert inspect(one, "-q", *options).err == "" == inspect(one, "--from-index", "7").err


def test_colour_is_for_terminals_without_no_color(one):
    where = {"CONFLUX_DATA_DIR": str(one)}
    assert "\033[" in on_terminal("inspect-log", **where)
    assert "\033[" not in on_terminal("inspect-log", NO_COLOR="1", **where)
    assert "\033[" not in inspect(one).out


def test_a_damaged_entry_is_shown_as_that_and_is_status_1(one):
    damage(one / "conflux" / "n1", 3)
    ran = inspect(one, "--json")
    assert ran.status == 1
    damaged = ran.lines[3]
    assert (damaged["index"], damaged["checksum_ok"]) == (3, False)
    assert {damaged[name] for name in ("term", "kind", "time", "records", "bytes")} == {None}
    assert [entry["checksum_ok"] for entry in ran.lines[1:]] == [True, True, False, True, True, True, True]
    assert (ran.error["error"], ran.error["message"]) == ("Damaged", "an entry is damaged in the log of n1: 3")
    text = inspect(one)
    assert text.status == 1 and "DAMAGED" in text.out.splitlines()[3] and text.err.startswith("error: an entry is")


def test_of_several_the_newest_log_is_read_and_named(tmp_path):
    make(tmp_path / "conflux" / "n1", many(9, term=1), identity=IDS["n1"])
    make(tmp_path / "conflux" / "n2", many(5, term=2), identity=IDS["n2"])
    make(tmp_path / "conflux" / "n3", many(4, term=2), identity=IDS["n3"])
    ran = inspect(tmp_path, "--json")
    assert (ran.lines[0]["label"], ran.status) == ("n2", 0)
    assert "the log of n2" in ran.err and "index 5, term 2" in ran.err
    assert inspect(tmp_path, "--json", "-q").err == ""


@pytest.mark.parametrize("name", ["n3", "3", "33333333", IDS["n3"]])
def test_a_node_is_named_by_label_or_id(tmp_path, name):
    for label in IDS:
        make(tmp_path / "conflux" / label, many(3), identity=IDS[label])
    ran = inspect(tmp_path, "--json", "--node", name)
    assert (ran.lines[0]["label"], ran.lines[0]["node"], ran.err) == ("n3", IDS["n3"], "")


def test_an_unknown_node_is_a_usage_error(one):
    ran = inspect(one, "--node", "n9")
    assert (ran.status, ran.out) == (2, "")
    assert "there is no node 'n9': there are n1 (11111111)" in ran.err


def test_a_damaged_directory_is_left_out_of_the_choice(tmp_path):
    make(tmp_path / "conflux" / "n1", many(3), identity=IDS["n1"])
    make(tmp_path / "conflux" / "n2", many(9), identity=IDS["n2"])
    data = tmp_path / "conflux" / "n2" / "data.mdb"
    os.truncate(data, 4096)
    ran = inspect(tmp_path, "--json")
    assert (ran.lines[0]["label"], ran.status) == ("n1", 0) and "n2 is left out" in ran.err
    assert inspect(tmp_path, "--node", "n2").status == 1


def test_no_directory_is_an_error_that_says_where(tmp_path):
    ran = inspect(tmp_path)
    assert (ran.status, ran.out) == (1, "") and str(tmp_path / "conflux") in ran.err and "--data-dir" in ran.err


def test_it_follows_what_the_node_writes_and_replaces(tmp_path):
    directory = tmp_path / "conflux" / "n1"
    make(directory, many(3), identity=IDS["n1"], commit_index=2)
    process = subprocess.Popen(
        command_line("inspect-log", "--json", "--follow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(CONFLUX_DATA_DIR=str(tmp_path)),
    )
    assert process.stdout is not None
    try:
        seen = [json.loads(process.stdout.readline())["commit_index"]]
        seen += [json.loads(process.stdout.readline())["index"] for _ in range(3)]
        storage = LmdbStorage.open(directory, create=False)
        more = Entry(4, 1, Kind.RECORDS, payload(first_revision=4))
        storage.persist(term=1, vote=None, entries=[more], commit_index=2)
        seen.append(json.loads(process.stdout.readline())["index"])
        new = [Entry(3, 2, Kind.NOOP, payload(first_revision=3))]
        storage.persist(term=2, vote=None, entries=new, commit_index=3)
        last = json.loads(process.stdout.readline())
        storage.close()
        assert seen == [2, 1, 2, 3, 4] and (last["index"], last["term"], last["committed"]) == (3, 2, True)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "") and "entries from 3 on were replaced" in err


def test_following_ends_where_the_range_does(one):
    assert len(inspect(one, "--json", "--follow", "--to-index", "3").lines) == 4


def test_following_ends_with_its_reader(one):
    process = subprocess.Popen(
        command_line("inspect-log", "--follow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(CONFLUX_DATA_DIR=str(one)),
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    wait_until(lambda: process.poll() is not None)
    assert (process.returncode, process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_many_actions_take_one_line_of_text():
    from conflux.store.records import Calls

    calls = Calls(2, 1, 1, ["append"], [action(number) for number in range(100)])
    entry = Entry(9, 1, Kind.RECORDS, payload(calls, actions=100, first_revision=5))
    shown = line(view(entry, checksum_ok=True, commit_index=9))
    assert "\n" not in shown and shown.endswith("... 97 more, to revision 104")


def test_an_entry_of_a_format_that_we_do_not_know_is_shown_as_other():
    shown = view(Entry(9, 1, Kind.RECORDS, b"\xff" * 80), checksum_ok=True, commit_index=9)
    assert (shown["kind"], shown["checksum_ok"], shown["actions"]) == ("other", True, None)
    assert "format 255" in line(shown)
