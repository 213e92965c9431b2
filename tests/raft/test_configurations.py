"""Which configurations a log holds, and which is in force."""

from __future__ import annotations

from conflux.raft.configuration import Configuration
from conflux.raft.configurations import Configurations

ONE, TWO, THREE = (Configuration.of(f"n{number}" for number in range(count)) for count in (1, 2, 3))


def test_what_the_log_holds_behind_an_index_is_told_in_its_order():
    configurations = Configurations(ONE, 3, [(5, TWO), (8, THREE)])
    assert configurations.after(0) == [ONE, TWO, THREE]
    assert configurations.after(3) == [TWO, THREE]
    assert configurations.after(7) == [THREE]
    assert configurations.after(8) == []


def test_a_log_that_is_cut_back_takes_its_configuration_with_it():
    configurations = Configurations(ONE, 0, [(5, TWO)])
    assert not configurations.truncate(6)
    assert configurations.truncate(5)
    assert configurations.current == ONE
    assert configurations.newest_index == 0


def test_a_snapshot_keeps_the_configuration_that_it_ends_with():
    configurations = Configurations(ONE, 0, [(5, TWO), (8, THREE)])
    configurations.compact(6)
    assert (configurations.at(6), configurations.at(8)) == (TWO, THREE)
    assert configurations.after(0) == [TWO, THREE]
