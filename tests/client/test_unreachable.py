"""Where a client looks for nodes, and what it says where none answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
import pytest

from conflux.client.engine import unreachable
from conflux.client.finding import default_data_dir


@dataclass
class Link:
    """The part of a link that says who was dialled, and who refused."""

    addresses: list[str]
    refused: list[str] = field(default_factory=list)

    def refusing(self) -> list[str]:
        return self.refused


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ([], "no node answers at a:1, b:1"),
        (["a:1"], "a:1 refuses our key, or isn't a Conflux node"),
        (["a:1", "b:1"], "a:1, b:1 refuse our key, or aren't Conflux nodes"),
    ],
)
def test_who_refuses_our_key_is_named(refused: list[str], said: str) -> None:
    error = unreachable(Link(["a:1", "b:1"], refused))  # type: ignore[arg-type]
    assert str(error) == said and ("--key" in error.hint) == bool(refused)


def test_the_environment_says_where_nodes_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFLUX_DATA_DIR", "/srv/nodes")
    assert default_data_dir() == Path("/srv/nodes")
    for unsay in (lambda: monkeypatch.setenv("CONFLUX_DATA_DIR", ""), lambda: monkeypatch.delenv("CONFLUX_DATA_DIR")):
        unsay()
        assert default_data_dir() == Path(platformdirs.user_data_dir("conflux"))
