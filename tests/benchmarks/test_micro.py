"""The regression check of the micro-benchmarks."""

from __future__ import annotations

import json

from benchmarks.micro import BASELINE, codec, core, regressions, store


def test_what_grew_past_the_tolerance_is_a_regression():
    assert regressions({"a": 1.4, "b": 1.6}, {"a": 1.0, "b": 1.0}, 1.5) == ["b: 1.60, and was 1.00"]


def test_the_baseline_has_what_is_measured_and_nothing_else():
    new, old = regressions({"new": 1.0}, {"old": 1.0}, 1.5)
    assert new.startswith("new: there is no baseline") and old.startswith("old: is not measured")


def test_each_case_runs_and_has_a_baseline():
    known = json.loads(BASELINE.read_text("utf-8"))
    for cases in (codec(), core(), store()):
        for name, (step, units) in cases:
            step(), step()
            assert units > 0 and name in known
