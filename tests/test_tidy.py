"""The rules of the house, held by a machine. What they are stands first, as data; how they are checked, below."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# Which part of Conflux may import which: a name stands for the module or the package with all it holds.
# `__init__` is the package `conflux` itself. A part may always import itself.
FREE = {"errors", "limits"}  # for everybody but raft
EVERYTHING = {
    *("__init__", "aio", "app", "apps", "cli", "client", "discovery", "gossip"),
    *("node", "raft", "storage", "store", "testing", "transport", "usercode", "wire"),
}
ARROWS: dict[str, set[str]] = {
    "raft": set(),
    "errors": set(),
    "limits": set(),
    "wire": {"raft"},
    "usercode": set(),
    "app": {"usercode", "wire"},
    "apps": {"app", "wire"},
    "storage": {"raft", "wire"},
    "transport": {"wire", "raft.invariant"},
    "discovery": {"wire", "transport"},
    "gossip": {"wire", "transport", "discovery"},
    "store": {"app", "usercode", "wire", "raft.entry", "raft.configuration", "raft.invariant"},
    # Who holds a directory's lock tells a client which nodes run here; nothing else of storage is its business.
    "client": {"wire", "transport", "discovery", "usercode", "storage.lock", "raft.invariant"},
    "node": {"usercode", "store", "raft", "storage", "transport", "discovery", "wire", "client", "app"},
    "aio": {"__init__", "app", "client", "node", "wire"},
    "testing": EVERYTHING - {"cli"},
    "cli": EVERYTHING,
    "demo": EVERYTHING - {"testing"},
    "__main__": {"cli"},
    "__init__": EVERYTHING - {"cli", "testing"},
}

# The core is pure: no clock, no socket, no disk, no thread.
RAFT_STDLIB = {
    *("__future__", "bisect", "collections", "collections.abc"),
    *("dataclasses", "enum", "itertools", "operator", "random", "typing"),
}
BANNED_IMPORTS = {"pickle", "marshal", "shelve", "yaml"}  # they run or build what the bytes say
BANNED_CALLS = {"eval", "exec"}
MAY_PRINT = ("cli/", "demo.py")

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
LINE_LENGTH_MAX = 120

# `conflux --help` answers in under 150 ms: these are imported by the commands that need them, when they run.
LATE_IMPORTS = ("lmdb", "rich", "zeroconf", "zmq")

CHANGELOG_TITLE = re.compile(r"Unreleased|\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)")
CHANGELOG_GROUPS = {"Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"}

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "conflux"


@dataclass(frozen=True)
class Source:
    """A file of the package; `name` is its path below conflux/."""

    name: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return parsed(self.text)

    @property
    def part(self) -> str:
        return self.name.split("/")[0].removesuffix(".py")

    @property
    def module(self) -> str:
        """As an arrow names it: `raft.entry`; a package without its `__init__`."""
        path = self.name.removesuffix(".py").replace("/", ".")
        return path.removesuffix(".__init__")


parsed = cache(ast.parse)


@cache
def sources() -> tuple[Source, ...]:
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple(Source(path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")) for path in files)


# ---- Imports ----


def imports(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of every import; the name is empty for `import module`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What importing a module runs: neither the bodies of functions nor what only the type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (deep for other in child.orelse for deep in (other, *run_at_import(other)))
            continue
        yield child
        yield from run_at_import(child)


def target(module: str, name: str, known: frozenset[str]) -> str | None:
    """What an import of Conflux points at, as an arrow names it. None: it isn't Conflux."""
    if module.split(".")[0] != "conflux":
        return None
    longest = ".".join([module, name] if name else [module]).removeprefix("conflux").removeprefix(".")
    if longest in known:
        return longest
    return module.removeprefix("conflux").removeprefix(".") or "__init__"


@cache
def known_modules() -> frozenset[str]:
    return frozenset(source.module for source in sources())


def forbidden_arrows(source: Source) -> Iterator[str]:
    if source.part not in ARROWS:
        yield f"conflux/{source.name}: {source.part} has no row in ARROWS"
        return
    allowed = ARROWS[source.part] | {source.part} | (FREE if source.part != "raft" else set())
    for line, module, name in imports(ast.walk(source.tree)):
        to = target(module, name, known_modules())
        if to and not any(to == each or to.startswith(f"{each}.") for each in allowed):
            yield f"conflux/{source.name}:{line}: {source.part} may not import {to}"


def forbidden_imports(source: Source) -> Iterator[str]:
    for line, module, name in imports(ast.walk(source.tree)):
        where = f"conflux/{source.name}:{line}"
        if module.split(".")[0] in BANNED_IMPORTS:
            yield f"{where}: {module} is banned"
        if source.part == "raft" and module.split(".")[0] != "conflux":
            if module not in RAFT_STDLIB:
                yield f"{where}: raft is pure, it may not import {module}"
            if module == "random" and name not in ("", "Random"):
                yield f"{where}: raft's randomness is an injected random.Random"


def forbidden_relative_imports(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"conflux/{source.name}:{node.lineno}: relative import"


def forbidden_names(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        where = f"conflux/{source.name}:{getattr(node, 'lineno', 0)}"
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
                yield f"{where}: {name}() is banned"
            case ast.Call(func=ast.Name(id="print")) if not source.name.startswith(MAY_PRINT):
                yield f"{where}: print() outside the command line"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if source.part == "raft" and name != "Random":
                yield f"{where}: raft's randomness is an injected random.Random, not random.{name}"


# ---- Sizes and words ----


def too_long(source: Source) -> Iterator[str]:
    lines = source.text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield f"conflux/{source.name}: {len(lines)} lines, over {FILE_LINES_MAX}"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LENGTH_MAX:
            yield f"conflux/{source.name}:{number}: {len(line)} characters, over {LINE_LENGTH_MAX}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"conflux/{source.name}:{node.lineno}: {node.name} has {length} lines, over {FUNCTION_LINES_MAX}"


def without_docstring(source: Source) -> Iterator[str]:
    if source.name.endswith("__init__.py") and not ast.get_docstring(source.tree):
        yield f"conflux/{source.name}: a package says in its docstring what it is for"


RULES = (
    forbidden_arrows,
    forbidden_imports,
    forbidden_relative_imports,
    forbidden_names,
    too_long,
    without_docstring,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule):
    problems = [problem for source in sources() for problem in rule(source)]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (forbidden_arrows, "raft/core.py", "import conflux.errors"),
        (forbidden_arrows, "raft/core.py", "def late():\n    from conflux import limits"),
        (forbidden_arrows, "wire/frame.py", "from conflux.node import loop"),
        (forbidden_arrows, "transport/memory.py", "from conflux.raft.entry import Entry"),
        (forbidden_arrows, "store/store.py", "import conflux"),
        (forbidden_arrows, "novelty/core.py", ""),
        (forbidden_imports, "node/loop.py", "from pickle import loads"),
        (forbidden_imports, "raft/core.py", "import time"),
        (forbidden_imports, "raft/core.py", "import zmq.asyncio"),
        (forbidden_imports, "raft/core.py", "from random import choice"),
        (forbidden_names, "raft/core.py", "import random\nrandom.seed(1)"),
        (forbidden_names, "node/loop.py", "eval('1')"),
        (forbidden_names, "node/loop.py", "print('here')"),
        (forbidden_relative_imports, "node/loop.py", "from . import other"),
        (too_long, "node/loop.py", "#\n" * (FILE_LINES_MAX + 1)),
        (too_long, "node/loop.py", "#" * (LINE_LENGTH_MAX + 1)),
        (too_long, "node/loop.py", "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX),
        (without_docstring, "node/__init__.py", "import zmq"),
    ],
)
def test_a_rule_sees_what_breaks_it(rule, name, text):
    assert len(list(rule(Source(name, text)))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("raft/core.py", "import random\nfrom conflux.raft.entry import Entry\nr: random.Random"),
        ("store/store.py", "from conflux.raft import invariant\nfrom conflux import errors, limits"),
        ("transport/memory.py", "from conflux.raft.invariant import invariant"),
        ("cli/main.py", "print('here')\nimport conflux\nfrom conflux.node.loop import Loop"),
        ("node/loop.py", "def whole():\n" + "    pass\n" * (FUNCTION_LINES_MAX - 1)),
    ],
)
def test_the_rules_let_good_code_pass(name, text):
    assert [problem for rule in RULES for problem in rule(Source(name, text))] == []


def cycle(files: tuple[Source, ...]) -> list[str]:
    """The modules of a cycle of imports, if there is one."""
    known = frozenset(source.module for source in files)
    graph = {
        source.module: {
            to
            for _, module, name in imports(run_at_import(source.tree))
            if (to := target(module, name, known)) and to != source.module
        }
        for source in files
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_module_imports_itself_by_a_detour():
    assert not (found := cycle(sources())), " -> ".join(found)


def test_a_cycle_is_found_but_not_in_what_runs_later():
    one = Source("wire/one.py", "from conflux.wire import two")
    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import conflux.wire.one\n"
    late += "def later():\n    import conflux.wire.one\n"
    assert cycle((one, Source("wire/two.py", late))) == []
    assert len(cycle((one, Source("wire/two.py", "import conflux.wire.one")))) == 3


def test_the_command_line_starts_without_the_heavy_imports():
    if not (PACKAGE / "cli" / "main.py").exists():
        pytest.skip("conflux/cli/main.py does not exist yet")
    program = f"import sys, conflux.cli.main; print(*[name for name in {LATE_IMPORTS!r} if name in sys.modules])"
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (answer.stdout.split(), answer.stderr, answer.returncode) == ([], "", 0)


# ---- The changelog ----


def changelog_problems(text: str) -> Iterator[str]:
    lines = text.splitlines()
    if lines[0] != "# Changelog":
        yield "line 1: the title is '# Changelog'"
    titles = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    if not titles:
        yield "no '## ' section"
    if "Unreleased" in titles[1:]:
        yield "'## Unreleased' stands first"
    for number, line in enumerate(lines, 1):
        if line.startswith("## ") and not CHANGELOG_TITLE.fullmatch(line[3:]):
            yield f"line {number}: a section is '## Unreleased' or '## 1.2.3 (2030-12-31)'"
        if line.startswith("### ") and line[4:] not in CHANGELOG_GROUPS:
            yield f"line {number}: a group is one of {', '.join(sorted(CHANGELOG_GROUPS))}"
        if line.startswith("* "):
            yield f"line {number}: an entry begins with '- '"


def test_the_changelog_has_its_shape():
    assert list(changelog_problems((ROOT / "CHANGELOG.md").read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "# Changes\n\n## Unreleased\n",
        "# Changelog\n",
        "# Changelog\n\n## 1.0\n",
        "# Changelog\n\n## 1.0.0 (2030-01-02)\n\n## Unreleased\n",
        "# Changelog\n\n## Unreleased\n\n### News\n",
        "# Changelog\n\n## Unreleased\n\n* an entry\n",
    ],
)
def test_a_changelog_out_of_shape_is_seen(text):
    assert len(list(changelog_problems(text))) == 1
