"""What the world may lean on: few names, one tree of errors, and an import that costs little."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import conflux
from conflux import errors
from conflux.errors import ConfluxError

ROOT = Path(__file__).resolve().parents[1]

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
]

# Exit statuses that an error may have; 0 is no error, 130 and 143 are signals.
STATUSES = {1, 2, 3, 4, 5, 6}


def test_the_public_names_are_few_and_sorted():
    assert len(conflux.__all__) < 20
    assert sorted(set(conflux.__all__)) == conflux.__all__


@pytest.mark.parametrize("name", conflux.__all__)
def test_every_public_name_can_be_imported(name):
    value = getattr(conflux, name)
    assert value.__name__.split(".")[-1] == name
    assert inspect.getdoc(value), f"{name} says in its docstring what it is for"


def test_names_that_are_not_there_are_missing_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'conflux' has no attribute 'Confluence'"):
        _ = conflux.Confluence
    with pytest.raises(ImportError):
        exec("from conflux import nothing_of_the_kind")


def test_a_star_import_gives_the_public_names():
    scope: dict[str, object] = {}
    exec("from conflux import *", scope)
    assert set(scope) - {"__builtins__"} == set(conflux.__all__)


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+", conflux.__version__)


def imported_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import conflux", "import conflux.errors, conflux.app", "from conflux import App"]
)
def test_importing_conflux_imports_nothing_heavy(statement):
    heavy = {"zmq", "lmdb", "rich", "zeroconf", "asyncio", "click"}
    assert not imported_by(statement) & heavy


# ---- Errors ----


def drawn_tree() -> dict[str, str]:
    """Class → its parent, as the docstring draws them."""
    parents: dict[str, str] = {}
    open_branches: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ├└─]*)([A-Z]\w+)(?:  |$)", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        while open_branches and open_branches[-1][0] >= depth:
            open_branches.pop()
        parents[name] = open_branches[-1][1] if open_branches else "Exception"
        open_branches.append((depth, name))
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    assert drawn_tree() == {kind.__name__: kind.__mro__[1].__name__ for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is_and_what_follows(kind):
    assert issubclass(kind, ConfluxError) and kind.__doc__
    assert kind.exit_status in STATUSES and type(kind.retryable) is bool
    assert type(kind.hint) is str and "\n" not in kind.hint


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_can_be_raised_with_a_message_and_a_hint_of_its_own(kind):
    error = kind("what happened", hint="what to do")
    assert (str(error), error.hint) == ("what happened", "what to do")
    assert kind("what happened").hint == kind.hint and str(kind()) == ""


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [
        (errors.OptionsError, 2, False),
        (errors.Unreachable, 3, True),
        (errors.NotApplied, 4, True),
        (errors.NoLeader, 4, True),
        (errors.Busy, 4, True),
        (errors.NotReady, 4, True),
        (errors.MethodRejected, 5, False),
        (errors.UnknownMethod, 5, False),
        (errors.ReducerFailed, 5, False),
        (errors.OutcomeUnknown, 6, True),
        (errors.SessionExpired, 6, False),
        (errors.AlreadyOpen, 1, False),
        (errors.Damaged, 1, False),
        (errors.StorageFailed, 1, False),
    ],
)
def test_exit_statuses_are_those_of_the_contract(kind, status, retryable):
    assert (kind.exit_status, kind.retryable) == (status, retryable)
