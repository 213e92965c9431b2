"""An app whose state is an object of its own: `dump` gives what stands for it, `load` makes it again.

conflux simulate --app ledger:app --seeds 20
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pyrsistent import PMap, pmap

import conflux


@dataclass(frozen=True)
class Ledger:
    """Who has how much, and how often something was moved."""

    accounts: PMap[str, int]
    moves: int = 0

    def balance(self, name: str) -> int:
        return self.accounts.get(name, 0)


app: conflux.App[Ledger, dict[str, Any]] = conflux.App(name="ledger")


@app.method
def deposit(state: Ledger, name: str, amount: int) -> dict[str, Any]:
    return {"type": "deposit", "name": name, "amount": amount}


@app.method
def move(state: Ledger, source: str, target: str, amount: int) -> dict[str, Any]:
    if not 0 < amount <= state.balance(source):
        raise ValueError(f"{source} has {state.balance(source)}")
    return {"type": "move", "source": source, "target": target, "amount": amount}


@app.reducer
def reduce(state: Ledger | None, action: dict[str, Any] | None) -> Ledger:
    state = state or Ledger(pmap())
    match action:
        case {"type": "deposit", "name": name, "amount": amount}:
            return replace(state, accounts=state.accounts.set(name, state.balance(name) + amount))
        case {"type": "move", "source": source, "target": target, "amount": amount}:
            accounts = state.accounts.set(source, state.balance(source) - amount)
            accounts = accounts.set(target, accounts.get(target, 0) + amount)
            return Ledger(accounts, state.moves + 1)
        case _:
            return state


@app.dumper
def dump(state: Ledger) -> dict[str, Any]:
    return {"accounts": state.accounts, "moves": state.moves}


@app.loader
def load(value: dict[str, Any]) -> Ledger:
    return Ledger(**value)
