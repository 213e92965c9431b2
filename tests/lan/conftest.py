"""LANs for tests: skipped, with the reason, where there can be none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.lan.finder import Finder
from tests.lan.namespaces import why_not
from tests.lan.network import Host, Lan


@pytest.fixture
def make_lan() -> Iterator[Callable[[int], Lan]]:
    """LANs of as many hosts as asked for; gone at the end of the test."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    made: list[Lan] = []

    def make(hosts: int) -> Lan:
        made.append(Lan(hosts).__enter__())
        return made[-1]

    yield make
    for lan in made:
        lan.__exit__()


@pytest.fixture
def find(make_lan: object) -> Iterator[Callable[..., Finder]]:
    """Finders, ended before their LAN is."""
    started: list[Finder] = []

    def start(host: Host, name: str = "", **options: str) -> Finder:
        started.append(Finder(host, name or host.name, **options))
        return started[-1]

    yield start
    for finder in started:
        finder.end(goodbye=False)
