"""The checks have teeth: a mutant is found, and the sound code is not. `make teeth` hunts all of them."""

from __future__ import annotations

import os

import pytest

from tests.teeth.hunts import Case
from tests.teeth.kill import Survived, hunt_down
from tests.teeth.mutant import Mutant
from tests.teeth.page import PAGE, page
from tests.teeth.registry import MUTANTS
from tests.teeth.runner import main

WHOLE = os.environ.get("CONFLUX_TEETH") == "1"


@pytest.mark.unmeasured
@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.quick or WHOLE], ids=lambda mutant: mutant.name)
def test_a_mutant_is_found_and_sound_code_is_not(mutant: Mutant) -> None:
    hunt_down(mutant)


def test_each_room_has_mutants_that_every_run_of_the_suite_hunts() -> None:
    assert {each.room for each in MUTANTS if each.quick} == {each.room for each in MUTANTS}


def test_the_page_is_what_the_registry_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.teeth --write-docs"


def harmless(hunt: Case) -> Mutant:
    return Mutant(name="harmless", room="", what="", codes="", hunt=hunt, quick=False, plant=lambda patch: None)


def test_a_mutant_that_nothing_finds_has_survived() -> None:
    with pytest.raises(Survived, match="harmless survived 1 attempts"):
        hunt_down(harmless(Case(lambda: None)))


def test_what_sound_code_fails_too_has_found_nothing() -> None:
    def fail() -> None:
        raise AssertionError("as ever")

    with pytest.raises(Survived, match="fail fails in sound code too: as ever"):
        hunt_down(harmless(Case(fail)))


def test_the_command_prints_what_found_a_mutant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--jobs", "1", "no_pre_vote"]) == 0
    output = capsys.readouterr().out
    assert "no_pre_vote" in output and "1 mutants, 0 survived" in output
