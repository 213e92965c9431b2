"""pytest's fixtures for apps on Conflux, there wherever Conflux is installed.

def test_an_order_is_shipped_once(conflux_cluster):
    nodes = conflux_cluster(app, size=3)
    ...

def test_no_weather_harms_my_app(conflux_simulation):
    conflux_simulation(app, seeds=20)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # whoever has Conflux but does not use these fixtures does not wait for it
    from conflux.app import App
    from conflux.node.embedded import Conflux

SEEDS = 20
STEPS = 2000
_numbers = count(1)


@pytest.fixture
def conflux_cluster() -> Iterator[Callable[..., list[Conflux]]]:
    """A function (app, size=3, **options of `conflux.Conflux`) → the nodes of a cluster of its own in this process.

    They are closed when the test ends, and keep nothing on disk.
    """
    from conflux.node.embedded import Conflux

    with ExitStack() as stack:

        def make(app: App[Any, Any], size: int = 3, **options: Any) -> list[Conflux]:
            channel = {"name": "memory", "hub": f"pytest {next(_numbers)}"}
            chosen: dict[str, Any] = {"channel": channel, "cluster_size": size} | options
            return [stack.enter_context(Conflux(app, id=f"n{number}", **chosen)) for number in range(1, size + 1)]

        yield make


@pytest.fixture
def conflux_simulation() -> Callable[..., int]:
    """A function (app, nodes=None, seeds=20, steps=2000, first_seed=0, draw_call=None) that runs so many simulations.

    It fails with the first seed in which something happens that must not; gives how many steps all runs had.
    """

    def run(
        app: App[Any, Any],
        nodes: int | None = None,
        *,
        seeds: int = SEEDS,
        steps: int = STEPS,
        first_seed: int = 0,
        draw_call: Any = None,
    ) -> int:
        from conflux.testing import Simulation

        total = 0
        for seed in range(first_seed, first_seed + seeds):
            try:
                with Simulation(app, nodes, seed, draw_call=draw_call) as simulation:
                    simulation.run(steps)
            except Exception as error:
                pytest.fail(f"seed {seed}: {type(error).__name__}: {error}", pytrace=False)
            total += simulation.steps
        return total

    return run
