"""The package in a process that has loaded nothing else of it."""

from __future__ import annotations

import subprocess
import sys

import conflux

PROGRAM = """
import conflux
for name in conflux.__all__:
    print(getattr(conflux, name).__name__.rpartition(".")[2])
try:
    conflux.Confluence
except AttributeError as error:
    print(error)
"""


def test_whoever_imports_the_package_alone_has_all_its_names_and_no_others() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [*conflux.__all__, "module 'conflux' has no attribute 'Confluence'"]
