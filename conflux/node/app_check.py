"""Whether an app can run, found out in a process of its own: what a user's module does when it is imported stays out of
the launcher, and so of the nodes that are forked from it."""

from __future__ import annotations

import json
import sys

from conflux.app import load_app
from conflux.errors import ConfluxError
from conflux.node.child import Answer, said_of
from conflux.store.machine import Machine


def job(app: str, app_dir: str) -> bytes:
    """What `main` reads: MODULE:ATTR, and where to look for it first."""
    return json.dumps([app, app_dir]).encode()


def main() -> int:
    """Answer with nothing, or with the error that a node would end with."""
    answer = Answer()
    app, app_dir = json.loads(sys.stdin.buffer.read())
    try:
        Machine.initial(load_app(app, app_dir))
    except ConfluxError as error:
        answer.give(said_of(error))
        return 1
    answer.give({})
    return 0
