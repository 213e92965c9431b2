"""What differs between two values, by path: for people, and for `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One path whose value was added, removed or changed."""

    path: Path
    before: Any = ABSENT
    after: Any = ABSENT

    @property
    def what(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is ABSENT else "removed" if self.after is ABSENT else "changed"


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[Difference]:
    """All of them, in the order of the paths. Lists are compared place by place, from whichever end agrees longer."""
    if type(before) is type(after) and before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _of_values(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path)
    else:
        yield Difference(path, before, after)


def as_fields(found: Iterable[Difference]) -> dict[str, list[dict[str, Any]]]:
    """The lists `added`, `removed` and `changed`, as `--json` prints them."""
    by_kind: dict[str, list[dict[str, Any]]] = {"added": [], "removed": [], "changed": []}
    for each in found:
        values = {"added": {"value": each.after}, "removed": {"value": each.before}}
        said = values.get(each.what, {"before": each.before, "after": each.after})
        by_kind[each.what].append({"path": [*each.path], **said})
    return by_kind


def path_text(path: Path) -> str:
    """As people write it: `.tea[0]`; a dot alone stands for the whole."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts) or "."


def _of_values(before: Any, after: Any, path: Path) -> Iterator[Difference]:
    if before is ABSENT or after is ABSENT:
        yield Difference(path, before, after)
    else:
        yield from differences(before, after, path)


def _of_lists(before: list[Any], after: list[Any], path: Path) -> Iterator[Difference]:
    """What both begin and end with is left out; where one then has nothing, the rest was added or removed."""
    shorter = min(len(before), len(after))
    head = next((place for place in range(shorter) if before[place] != after[place]), shorter)
    rest = shorter - head
    tail = next((count for count in range(rest) if before[-1 - count] != after[-1 - count]), rest)
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    for place in range(max(len(old), len(new))):
        value = old[place] if place < len(old) else ABSENT
        other = new[place] if place < len(new) else ABSENT
        yield from _of_values(value, other, (*path, head + place))
