"""Calls for an app that says nothing of them: arguments drawn by what a method's parameters are annotated with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, get_origin

from conflux.errors import OptionsError
from conflux.testing.workload import DrawCall

WORDS = ("apple", "book", "cat", "door", "egg", "flag", "gate", "hat")


def calls_of(methods: Mapping[str, Callable[..., Any]]) -> DrawCall:
    """Calls of all methods, each as often as the next.

    Raises:
        OptionsError: a method's parameters can't be seen.
    """
    drawers = {name: _arguments_of(name, method) for name, method in sorted(methods.items())}
    names = list(drawers)

    def draw(random: Random, number: int) -> tuple[str, list[Any]]:
        name = random.choice(names)
        return name, drawers[name](random, number)

    return draw


def _arguments_of(name: str, method: Callable[..., Any]) -> Callable[[Random, int], list[Any]]:
    try:
        signature = inspect.signature(method, eval_str=True)
    except (NameError, TypeError, ValueError) as error:
        hint = "Give draw_call: which calls clients make."
        raise OptionsError(f"no calls of the method {name!r} can be drawn: {error}", hint=hint) from error
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [each for each in signature.parameters.values() if each.kind in positional][1:]

    def draw(random: Random, number: int) -> list[Any]:
        given = []
        for parameter in parameters:
            if parameter.default is not parameter.empty and random.random() < 0.5:
                break
            given.append(_value(parameter.annotation, random, number))
        return given

    return draw


def _value(annotation: Any, random: Random, number: int) -> Any:
    """A value of the annotated type: few different ones, so that calls meet."""
    kind = get_origin(annotation) or annotation
    if kind is bool:
        return random.random() < 0.5
    if kind is int:
        return random.choice([0, 1, 2, 3, 10, -1, number])
    if kind is float:
        return random.choice([0.0, 0.5, 1.0, -2.5, float(number)])
    if kind is list:
        return [random.choice(WORDS) for _ in range(random.randrange(4))]
    if kind is dict:
        return {random.choice(WORDS): random.randrange(4) for _ in range(random.randrange(3))}
    if kind is str or random.random() < 0.7:
        return random.choice([*WORDS, f"{random.choice(WORDS)}-{number}"])
    return random.randrange(10)
