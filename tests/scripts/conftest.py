"""`pytest tests/scripts --rewrite`: the scripts get the output that they really have. Then read the diff."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the real output into tests/scripts/**/*.txt")


@pytest.fixture
def rewriting(request: pytest.FixtureRequest) -> bool:
    """False too where this file was found too late for its option, as in a run of all tests."""
    return bool(request.config.getoption("rewrite", False))
