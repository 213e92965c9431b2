"""The docs say what is true: of commands, options, errors, formats, and of what the examples do."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import conflux
from conflux import errors
from conflux.cli.cluster_status import ROW_FIELDS
from conflux.errors import ConfluxError
from conflux.wire.clients import CLIENTS
from conflux.wire.peers import PEERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "reference"
EXAMPLES = ROOT / "examples"
CLASSES = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, ConfluxError)]
TIMEOUT_S = 60


def generator() -> ModuleType:
    """tools/cli_reference.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "tools" / "cli_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cli_reference = generator()


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# ---- Pages against the code ----


def test_the_reference_of_the_command_line_is_what_the_generator_prints():
    assert text_of(REFERENCE / "cli.md") == cli_reference.page(), (
        "run: python tools/cli_reference.py > docs/reference/cli.md"
    )


def every_word_of_the_command_line() -> Iterator[str]:
    for name, command in cli_reference.commands().items():
        yield f"## {name}\n"
        yield from (example for example in command.examples)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                names = (*parameter.opts, *parameter.secondary_opts)
                yield from (f"`{option}`" for option in names if option != "--help")
                if parameter.envvar:
                    yield f"`{parameter.envvar}`"


def test_every_command_option_variable_and_example_is_in_the_reference():
    page = text_of(REFERENCE / "cli.md")
    assert [word for word in every_word_of_the_command_line() if word not in page] == []


def test_every_command_is_mentioned_in_the_readme_or_a_how_to():
    text = "\n".join(text_of(page) for page in PAGES if "reference" not in page.parts)
    rare = {"completion"}
    assert [name for name in cli_reference.commands() if f"conflux {name}" not in text and name not in rare] == []


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_is_in_the_docs_with_its_status(error: type[ConfluxError]):
    retryable = "yes" if error.retryable else "no"
    row = rf"^\| `{error.__name__}` \| \S+ \| {error.exit_status} \| {retryable} \| {re.escape(error.hint or '-')} \|$"
    assert re.search(row, text_of(REFERENCE / "python.md"), re.MULTILINE), row
    row = rf"^\| `{error.__name__}` \| {error.exit_status} \| {retryable} \|"
    assert re.search(row, text_of(REFERENCE / "cli.md"), re.MULTILINE), row


def test_every_exit_status_is_in_the_docs():
    used = {error.exit_status for error in cli_reference.error_classes()} | {0, 2, 130, 143}
    assert used == set(cli_reference.STATUSES)
    page = text_of(REFERENCE / "cli.md")
    assert all(f"\n| {status} | " in page for status in used)


@pytest.mark.parametrize("name", [*conflux.__all__])
def test_every_public_name_is_in_the_docs(name: str):
    assert f"| `{name}` |" in text_of(REFERENCE / "python.md")


@pytest.mark.parametrize("kind", [conflux.Conflux, conflux.Client])
def test_every_public_method_is_in_the_docs(kind: type):
    page = text_of(REFERENCE / "python.md")
    methods = [name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"`{name}[(`]", page)] == []


def test_every_kind_of_frame_is_in_the_docs():
    page = text_of(REFERENCE / "formats.md")
    kinds = {**PEERS._kinds, **CLIENTS._kinds}
    assert [type_.__name__ for type_, kind in kinds.items() if f"| {kind} | `{type_.__name__}` |" not in page] == []


def test_the_files_that_the_docs_name_are_there():
    named = {
        (name_of(page), path)
        for page in PAGES
        for path in re.findall(r"`((?:conflux|tests|tools|examples|benchmarks)/[\w./-]*)`", text_of(page))
    }
    assert sorted(found for found in named if not (ROOT / found[1]).exists()) == []


# ---- Links and code ----


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Of a page's titles, as they are made of them on the web."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_the_docs_compiles(page: Path):
    for block in python_blocks(page):
        compile(block, name_of(page), "exec")


# ---- Examples ----


def environment(directory: Path) -> dict[str, str]:
    """With data in a directory of the test's own, and a `conflux` that is ours in front of all others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONFLUX_")}
    command = directory / "bin" / "conflux"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m conflux "$@"\n')
    command.chmod(0o755)
    ours = {"PATH": f"{command.parent}{os.pathsep}{kept['PATH']}", "PYTHONPATH": str(ROOT)}
    places = {"HOME": str(directory), "XDG_DATA_HOME": str(directory / "data")}
    return kept | ours | places | {"PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: str, directory: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment(directory),
        cwd=cwd or directory,
        check=False,
    )


@pytest.fixture
def stop_at_the_end(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Names of clusters whose nodes are stopped at the end of the test."""
    names: list[str] = []
    yield names.append
    for name in names:
        run("conflux", "--cluster", name, "stop", directory=tmp_path)


def test_the_shop_of_the_examples_is_that_of_the_readme():
    shown = python_blocks(ROOT / "README.md")[0].removeprefix("# shop.py\n")
    assert "".join(shown.split()) in "".join(text_of(EXAMPLES / "shop" / "shop.py").split())


def test_the_readmes_session_with_the_shop(tmp_path: Path, stop_at_the_end: Callable[[str], None]):
    module, program = python_blocks(ROOT / "README.md")
    (tmp_path / "shop.py").write_text(module)
    stop_at_the_end("shop")
    block = re.search(r"((?:    .*\n)+)", text_of(ROOT / "README.md").split("```")[2])
    assert block is not None
    lines = [line.strip() for line in block[1].splitlines()]
    for line, shown in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("$ "):
            ran = run("sh", "-c", f"{{ {line[2:]}; }} 2>&1", directory=tmp_path)
            assert shown.startswith(("$ ", "status")) or ran.stdout.startswith(shown.rstrip(".")), (line, ran.stdout)
            if "status $?" in line:
                assert ran.stdout.endswith("status 5\n")
    ran = run(sys.executable, "-c", program, directory=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["{'tea': 2}", "{'type': 'stocked', 'item': 'tea', 'count': 1}"]


def test_the_example_of_the_shop(tmp_path: Path):
    ran = run("sh", str(EXAMPLES / "shop" / "run.sh"), directory=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-2:] == ["that ended with status 5", '{"tea": 0}']
    assert "tea is sold out" in ran.stderr


def test_the_example_of_an_embedded_cluster(tmp_path: Path):
    ran = run(sys.executable, str(EXAMPLES / "embedded.py"), directory=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "revision 1: b holds ['foo']",
        "the action: {'type': 'append', 'thing': 'foo'}",
    ]


def test_the_example_of_a_counter(tmp_path: Path, stop_at_the_end: Callable[[str], None]):
    started, program, _ = re.findall(
        r"^(?:conflux|python) .*$", text_of(EXAMPLES / "counter_with_client.py"), re.MULTILINE
    )
    stop_at_the_end("counter")
    assert run(*started.split(), directory=tmp_path, cwd=EXAMPLES).returncode == 0
    ran = run(sys.executable, *program.split()[1:], directory=tmp_path, cwd=EXAMPLES)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"revision 100 in entry \d+: 100 more\nrejected: ValueError: it only counts up\n", ran.stdout)


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<!\S)--[a-z][a-z-]+", text))


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("compose/compose.yaml", r"command: >-\n((?: {6}.*\n)+)"),
        ("systemd/conflux.service", r"^ExecStart=(.*)$"),
    ],
)
def test_what_the_service_files_pass_are_options_of_start(path: str, pattern: str):
    commands = re.findall(pattern, text_of(EXAMPLES / path), re.MULTILINE)
    start = cli_reference.commands()["start"]
    known = {name for parameter in start.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert commands
    for command in commands:
        assert {"--cluster-size", "--local", "--key"} <= options_in(command) <= known


# ---- The fields of --json ----


def fields(command: str, place: int = 0) -> set[str]:
    return set(cli_reference.JSON[command][place][1])


def test_the_fields_of_json_are_those_in_the_docs(tmp_path: Path, stop_at_the_end: Callable[[str], None]):
    def said(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
        ran = run("conflux", "--cluster", "docs", "--json", *arguments, directory=tmp_path)
        assert ran.returncode == status, ran.stderr
        return [json.loads(line) for line in (ran.stdout or ran.stderr).splitlines()]

    stop_at_the_end("docs")
    assert set(said("start", "--cluster-size", "1", "--detach")[0]) == fields("start")
    assert set(said("wait")[0]) == fields("wait")
    assert set(said("perform", "append", "foo")[0]) == fields("perform")
    assert set(said("watch", "--from-revision", "1", "--count", "1")[0]) == fields("watch")
    both = fields("watch") | fields("watch", 1)
    assert set(said("watch", "--from-revision", "1", "--count", "1", "--state")[0]) == both
    assert set(said("state")[0]) == fields("state")
    (status,) = said("status")
    assert set(status) == fields("status")
    (row,) = status["nodes"]
    assert set(row) == fields("status", 1) == set(ROW_FIELDS)
    head, *entries = said("inspect-log")
    assert set(head) == fields("inspect-log")
    assert {name for entry in entries for name in entry} == fields("inspect-log", 1)
    assert set(said("logs")[0]) == fields("logs")
    assert set(said("bench", "--yes", "--seconds", "0.2", "--warm-up", "0")[0]) == fields("bench")
    assert set(said("keygen", "a.key")[0]) == fields("keygen")
    assert set(said("perform", "nothing-of-the-kind", status=5)[0]) == set(cli_reference.ERROR)
    assert set(said("simulate", "--steps", "100")[0]) == fields("simulate")
    assert set(said("snapshot", "now")[0]) == fields("snapshot now")
    assert set(said("members", "list")[0]) == fields("members list")
    assert set(said("members", "add")[0]) == fields("members add", 1)
    assert set(said("transfer-leadership", row["label"])[0]) == fields("transfer-leadership")
    said("start", "--join", "wait", "--detach")
    assert set(said("members", "add", "n2", "--learner")[0]) == fields("members add")
    assert set(said("members", "promote", "n2", "--no-wait")[0]) == fields("members promote")
    assert set(said("members", "remove", "n2")[0]) == fields("members remove")
    assert set(said("state", "--diff", "0:1")[0]) == fields("state", 1)
    assert set(said("snapshot", "save", "a.snapshot")[0]) == fields("snapshot save")
    assert set(said("snapshot", "inspect", "a.snapshot")[0]) == fields("snapshot inspect")
    assert set(said("export", "a.log")[0]) == fields("export")
    assert set(said("replay", "a.log")[0]) == fields("replay")
    assert set(said("stop")[0]) == fields("stop")
    ran = run("conflux", "--json", "snapshot", "restore", "a.snapshot", "--cluster", "copy", directory=tmp_path)
    assert set(json.loads(ran.stdout)) == fields("snapshot restore")
    assert set(said("destroy", status=2)[0]) == fields("destroy", 1)
    assert set(said("destroy", "--yes")[0]) == fields("destroy")
