"""What tests of Conflux use, and yours may: whole clusters in one thread, in simulated weather, from one seed.

    from conflux.testing import Simulation

    def test_no_weather_harms_my_app():
        for seed in range(20):
            with Simulation(my_app, seed=seed, draw_call=lambda random, number: ("add", [number])) as simulation:
                simulation.run(2000)

The nodes are real; clock, network and disk are not. Every knob is drawn from the seed (`weather`): size, time-outs,
limits, loss, delay, partitions, crashes in the middle of a write, pauses, full and failing disks. What is checked while
it runs stands in `checkers`, what is checked at the end in `judge`: the log is run again from the beginning, and each
caller must have been told just that. An app that is a name of a module is run once more in a process with another hash
seed (`elsewhere`), which shows whether its reducer follows a set's order.

`python -m conflux.testing --seeds 0:99` runs many.
"""

from conflux.testing.linearizability import check_append_only, check_real_time
from conflux.testing.simulation import Simulation
from conflux.testing.violation import Violation
from conflux.testing.weather import Weather

__all__ = ["Simulation", "Violation", "Weather", "check_append_only", "check_real_time"]
