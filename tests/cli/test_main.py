"""The command line as a whole: its help, its global options, its wrong inputs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from conflux.cli.main import COMMANDS, group
from tests.cli.running import ROOT, Ran, command_line, conflux, environment, wait_until

HEAVY = ("zmq", "zeroconf", "lmdb", "msgpack", "rich", "platformdirs")


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from conflux.cli.main import main; status = main(['--help']); "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), cwd=ROOT, check=False
    )
    assert (done.stderr.strip(), done.returncode) == ("", 0)
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_loading_a_command_imports_nothing_heavy(name: str):
    program = (
        "import sys; from conflux.cli.main import main; status = main([sys.argv[1], '--help']); "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, name], capture_output=True, text=True, env=environment(), cwd=ROOT, check=False
    )
    assert (done.stderr.strip(), done.returncode) == ("", 0)
    assert "Example" in done.stdout and f"  conflux {name}" in done.stdout
    assert "--cluster NAME" in done.stdout and "CONFLUX_CLUSTER" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_options_alone_are_listed_as_options_and_help_is_a_global_one(name: str):
    command = group.get_command(group.make_context("conflux", ["status"]), name)
    assert command is not None
    with click.Context(command) as ctx:
        own, _, shared = command.get_help(ctx).partition("\nGlobal options")
    listed = own.partition("\nOptions:\n")[2].splitlines()
    assert all(line.startswith(("  -", "   ")) for line in listed if line)
    assert "--help" in shared and "--help  " not in own


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_each_command_says_of_itself(name: str):
    command = group.get_command(group.make_context("conflux", ["status"]), name)
    assert command is not None and command.name == name and command.help
    assert COMMANDS[name][1].endswith(".") and command.help.splitlines()[0].rstrip(".:;")


def test_version():
    assert conflux("--version").out.startswith("conflux 0.")
    assert conflux("status", "--version").out.startswith("conflux 0.")


def test_without_a_command_it_is_a_usage_error():
    assert conflux() == Ran(2, "", "error: No command was given. See `conflux --help`.\n")


# As a script types them whose variable was not set.
WITHOUT_A_NAME = [
    ["keygen", ""],
    ["export", ""],
    ["export", "a.log", "--archive", ""],
    ["replay", ""],
    ["inspect-archive", ""],
    ["recover", "--from", ""],
    ["snapshot", "save", ""],
    ["snapshot", "inspect", ""],
    ["snapshot", "restore", ""],
    ["start", "--cluster-size", "1", "--archive", ""],
    ["--data-dir", "", "state"],
    ["state", "--key", ""],
]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'. See `conflux --help`."),
        (["state", "--nonsense"], "--nonsense"),
        (["state", "extra"], "extra"),
        (["perform"], "Missing argument 'METHOD'. See `conflux perform --help`."),
        (["--cluster", "Wrong", "state"], "'Wrong' must match [a-z][a-z0-9-]{0,31}."),
        (["state", "--cluster", "x" * 33], "must match"),
        (["state", "--cluster", "../x"], "must match"),
        (["state", "--timeout", "soon"], "'soon' is no number of seconds greater than 0."),
        (["state", "--timeout", "nan"], "is no number of seconds"),
        (["state", "--timeout", "0"], "is no number of seconds"),
        (["state", "--timeout", "inf"], "is no number of seconds"),
        (["state", "--output", "yaml"], "'yaml' is not one of"),
        (["state", "--consistency", "strong"], "'strong' is not one of"),
        (["watch", "--count", "0"], "0 is not in the range"),
        (["watch", "--from-revision", "-1"], "-1 is not in the range"),
        (["perform", "append", "--timeout"], "requires an argument"),
        (["inspect-log", "--from-index", "0"], "0 is not in the range"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        *((arguments, "the name is empty.") for arguments in WITHOUT_A_NAME),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(arguments: list[str], said: str):
    ran = conflux(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert said in ran.err and "--help`." in ran.err


@pytest.mark.parametrize("arguments", [["--json", "nonsense"], ["state", "--nonsense", "--output", "json"]])
def test_a_usage_error_is_json_where_that_was_asked_for(arguments: list[str]):
    ran = conflux(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert {"error", "message", "hint", "exit_status", "retryable"} == set(ran.error)
    assert (ran.error["error"], ran.error["exit_status"], ran.error["retryable"]) == ("UsageError", 2, False)


def test_options_stand_before_or_after_the_command(tmp_path):
    where = str(tmp_path)
    for arguments in (
        ["--data-dir", where, "--cluster", "shop", "--json", "state"],
        ["state", "--data-dir", where, "--cluster", "shop", "--json"],
        ["--json", "--cluster", "other", "state", "--data-dir", where, "--cluster", "shop"],
    ):
        ran = conflux(*arguments)
        assert (ran.status, ran.error["error"]) == (3, "Unreachable")
        assert str(tmp_path / "shop") in ran.error["message"]


def test_a_flag_is_stronger_than_the_environment(tmp_path):
    ran = conflux("--cluster", "flag", "state", CONFLUX_DATA_DIR=str(tmp_path), CONFLUX_CLUSTER="environment")
    assert str(tmp_path / "flag") in ran.err
    ran = conflux("state", CONFLUX_DATA_DIR=str(tmp_path), CONFLUX_CLUSTER="environment")
    assert str(tmp_path / "environment") in ran.err


def test_the_environment_is_checked_unless_a_flag_takes_its_place(tmp_path):
    assert conflux("state", CONFLUX_TIMEOUT="soon").status == 2
    assert "CONFLUX_CLUSTER" in conflux("state", CONFLUX_CLUSTER="Wrong").err
    ran = conflux("state", "--timeout", "1", CONFLUX_TIMEOUT="soon", CONFLUX_DATA_DIR=str(tmp_path))
    assert ran.status == 3
    ran = conflux("--timeout", "1", "state", CONFLUX_TIMEOUT="soon", CONFLUX_DATA_DIR=str(tmp_path))
    assert ran.status == 3


def test_output_comes_from_the_environment(tmp_path):
    assert conflux("state", CONFLUX_OUTPUT="json", CONFLUX_DATA_DIR=str(tmp_path)).error["exit_status"] == 3
    text = conflux("state", "--output", "text", CONFLUX_OUTPUT="json", CONFLUX_DATA_DIR=str(tmp_path))
    assert text.err.startswith("error: ")


def test_endpoints_come_from_the_environment():
    ran = conflux("state", "--timeout", "0.3", CONFLUX_ENDPOINT="127.0.0.1:9, 127.0.0.1:13")
    assert ran.status == 3 and "127.0.0.1:9, 127.0.0.1:13" in ran.err


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("nonsense", "'nonsense' is not an address: its port is not in 0..65534"),
        ("127.0.0.1", "'127.0.0.1' is not an address: its port is not in 0..65534"),
        ("a:1,b:2", "'a:1,b:2' is not an address: its host is malformed"),
        ("0.0.0.0:7420", "nobody can dial 0.0.0.0:7420"),
    ],
)
def test_an_endpoint_that_is_no_address_is_a_usage_error(endpoint: str, said: str, tmp_path):
    ran = conflux("state", "--endpoint", endpoint, CONFLUX_DATA_DIR=str(tmp_path))
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"error: {said}.") and "HOST:PORT" in ran.err


def test_an_unexpected_error_is_one_line_and_with_v_a_traceback(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import conflux.cli.identify\n"
        "def fail(*arguments):\n    raise ZeroDivisionError('so\\nwhat')\n"
        "import conflux.cli.local_nodes\nconflux.cli.local_nodes.local_nodes = fail\n"
    )
    path = f"{tmp_path}:{ROOT}"
    ran = conflux("destroy", PYTHONPATH=path)
    assert ran.status == 1
    assert ran.err == "error: ZeroDivisionError: so what. This is a bug: -v shows where it happened.\n"
    traceback, line = conflux("destroy", "-v", PYTHONPATH=path).err.rsplit("\n", 2)[:2]
    assert traceback.startswith("Traceback") and line == ran.err.rstrip()
    ran = conflux("destroy", "--json", PYTHONPATH=path)
    assert ran.error["error"] == "ZeroDivisionError" and "where" not in ran.error
    ran = conflux("destroy", "-v", "--json", PYTHONPATH=path)
    assert ran.error["error"] == "ZeroDivisionError" and ran.err.count("\n") == 1
    assert ran.error["where"].startswith("Traceback") and "ZeroDivisionError" in ran.error["where"]


def test_an_error_that_was_foreseen_has_no_traceback(tmp_path):
    where = {"CONFLUX_DATA_DIR": str(tmp_path)}
    for arguments in (["state"], ["nonsense"], ["destroy"]):
        assert conflux(*arguments, "-v", **where).err == conflux(*arguments, **where).err
        assert "where" not in conflux("--json", "-v", *arguments, **where).error


def catches(pid: int, number: signal.Signals) -> bool:
    """True once a process has a handler of its own for a signal."""
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc says what a process catches")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_without_a_word(number: int, status: int, processes, tmp_path):
    process = processes.start(
        *command_line("wait", "--timeout", "60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(CONFLUX_DATA_DIR=str(tmp_path)),
    )
    wait_until(lambda: catches(process.pid, signal.SIGTERM))
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (status, b"", b"")


# Where a signal may find a command, and what is raised there does not come out.
DEAF_PLACES = {
    "a callback": """
class Object:
    def __del__(self):
        print("here", flush=True)
        time.sleep(60)

Object()
""",
    "what hears of it": """
from conflux.cli import ending

def slowly(number, ending=ending, as_ever=ending._come_again):
    ending._come_again = as_ever
    as_ever(number)
    time.sleep(0.1)  # the signal comes again before the hook is left

ending._come_again = slowly

class Object:
    def __del__(self):
        print("here", flush=True)
        time.sleep(60)

Object()
""",
    "an import": """
try:
    import not_in_a_hurry
except BaseException:
    pass
""",
}
DEAF = """
import time

def local_nodes(*arguments):
    exec(PLACE)
    time.sleep(60)

import conflux.cli.local_nodes
conflux.cli.local_nodes.local_nodes = local_nodes
"""


@pytest.mark.parametrize("place", DEAF_PLACES)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_not_lost(number: int, status: int, place: str, processes, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"PLACE = {DEAF_PLACES[place]!r}\n{DEAF}")
    (tmp_path / "not_in_a_hurry.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(0.3)\n")
    process = processes.start(
        *command_line("destroy"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(PYTHONPATH=f"{tmp_path}:{ROOT}"),
    )
    assert process.stdout.readline() == b"here\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (status, b"", b"")
