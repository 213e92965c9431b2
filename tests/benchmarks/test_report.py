"""The page and its plots, from results as they come."""

from __future__ import annotations

import json
import xml.etree.ElementTree as xml

import pytest
from benchmarks.machine import Theft, busy_share
from benchmarks.plot import Axis, line_plot
from benchmarks.report import (
    PAGE,
    PLOTS,
    RESULTS,
    TABLES,
    Table,
    gaps,
    grouped,
    machines,
    page,
    plots,
    seconds,
    shown,
)
from benchmarks.scenarios import SCENARIOS

MACHINE = {
    "processors": 2,
    "system": "Linux",
    "python": "3.11.7",
    "file_system": "ext4",
    "time": "2026-11-29T01:02:03Z",
    "commit": "abc1234",
    "load_average": 0.2,
    "fdatasync_ms": {"p50": 0.3},
}


def test_the_page_and_its_plots_are_what_the_report_makes_of_the_results():
    results = json.loads(RESULTS.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == page(results), "run: python -m benchmarks.report"
    assert {name: (PLOTS / name).read_text("utf-8") for name, _ in plots(results)} == dict(plots(results))


def test_every_scenario_has_a_table():
    assert set(TABLES) == set(SCENARIOS)


def test_rows_that_agree_in_their_keys_are_one_line_with_a_spread():
    table = Table("", "", {"system": "system"}, {"took.p50": ("took", seconds)})
    rows = [{"system": "a", "took": {"p50": value}} for value in (1, 3, 2)] + [{"system": "b", "took": {"p50": 7}}]
    assert grouped(table, rows) == [["a", "2.00 s (1.00 s to 3.00 s)"], ["b", "7.00 s"]]


def test_what_is_unknown_is_a_dash():
    assert shown(None, seconds) == "-"


def test_the_page_says_that_the_machine_was_busy_where_it_was():
    quiet = "\n".join(machines({"outside": {"machine": MACHINE}}))
    busy = "\n".join(machines({"outside": {"machine": {**MACHINE, "busy": 0.5}}}))
    assert "busy with other work** before these parts: outside" in busy and "busy" not in quiet
    left_behind = "\n".join(machines({"outside": {"machine": {**MACHINE, "load_average": 9.0, "busy": 0.01}}}))
    assert left_behind.count("9.0") == 0
    unknown = "\n".join(machines({"outside": {"machine": {**MACHINE, "load_average": 9.0}}}))
    assert "The load average was 9.0 to 9.0 before these parts" in unknown
    assert "abc1234" in quiet and "2026-11-29" in quiet


def test_the_page_says_what_the_host_gave_to_others():
    robbed = "\n".join(machines({"outside": {"machine": {**MACHINE, "stolen": 0.25}}}))
    assert "the host gave others this share: outside 25%." in robbed
    for stolen in (None, 0.0, 0.005):
        assert "gave others" not in "\n".join(machines({"outside": {"machine": {**MACHINE, "stolen": stolen}}}))


def test_what_is_stolen_is_a_share_of_what_was_worked():
    theft = Theft()
    sum(range(1_000_000))
    share = theft.share()
    assert share is None or 0.0 <= share <= 1.0


def test_how_busy_the_machine_is_is_a_share_of_its_processors():
    share = busy_share(0.05)
    assert share is None or 0.0 <= share <= 1.0


def test_gaps_and_failures_are_named():
    failed = {"round": 2, "system": "b", "nodes": 3, "failed": "no leader"}
    lines = list(gaps({"gaps": {"a": "a: there is no npm here"}, "rows": [failed]}))
    assert lines[0] == "Left out: a: there is no npm here."
    assert lines[2] == "Failed in round 2: b with 3 nodes: no leader."


@pytest.mark.parametrize(("value", "pixel"), [(1, 0), (10, 50), (100, 100)])
def test_an_axis_goes_by_powers_of_ten(value: float, pixel: float):
    axis = Axis([2, 70], 0, 100)
    assert axis.at(value) == pixel and axis.ticks() == [1, 10, 100]


def test_a_plot_is_well_formed_and_has_a_line_for_each_name():
    drawn = xml.fromstring(line_plot("a < b", "x", "y", {"one": [(1, 10), (64, 1000)], "other": [(1, 20)]}))
    names = [element.tag.rpartition("}")[2] for element in drawn.iter()]
    assert names.count("polyline") == 2 and names.count("circle") == 3
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert {"a < b", "one", "other"} <= set(texts)
