"""Mutants: errors put into Conflux from outside, each with the hunt that must find it. One registry holds them all."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from msgspec import Struct, structs

from tests.teeth.hunts import Hunt

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]

REGISTRY: dict[str, Mutant] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One error. Planting it patches Conflux for as long as the patch lasts, and touches no file."""

    name: str
    room: str  # what it is an error of
    what: str  # a sentence
    codes: str  # of the failure cases, and of the ancestor's defects, that it stands for
    hunt: Hunt
    quick: bool  # found soon enough for every run of the suite
    plant: Plant


def changed(thing: Any, **fields: Any) -> Any:
    """A frozen dataclass or struct with other fields."""
    replace = structs.replace if isinstance(thing, Struct) else dataclasses.replace
    return replace(thing, **fields)


def mutant(room: str, *, hunt: Hunt, codes: str = "", quick: bool = False) -> Callable[[Plant], Mutant]:
    """Enter a function that plants an error in the registry; its docstring says what is wrong then."""

    def enter(plant: Plant) -> Mutant:
        name = plant.__name__
        what = " ".join((inspect.getdoc(plant) or "").split())
        assert what.endswith(".") and name not in REGISTRY, name
        REGISTRY[name] = Mutant(name=name, room=room, what=what, codes=codes, hunt=hunt, quick=quick, plant=plant)
        return REGISTRY[name]

    return enter
