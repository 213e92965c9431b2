"""Ports for nodes that a test is going to start."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from itertools import cycle

from conflux.node.addresses import PORTS_WITHOUT_A_NAME

# What is free now is to be free still when the node is started, so they are neither those that systems give to outgoing
# connections (who dials such a port before the node is there may even be given that very port, and meets itself), nor
# those among which a node chooses that isn't told its own.
PORTS = range(8_000, PORTS_WITHOUT_A_NAME.start)
WORKERS_MAX = 8  # of pytest-xdist: no two share a port


def free_pair() -> int:
    """A port that is free, like the next one. The same one comes again only after all the others."""
    return next(_pairs)


def _free_pairs() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MAX
    share = len(PORTS) // WORKERS_MAX
    mine = list(PORTS[worker * share : (worker + 1) * share : 2])
    random.shuffle(mine)  # two runs of the suite on one machine
    for port in cycle(mine):
        if _is_free(port) and _is_free(port + 1):
            yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what only waits to be forgotten is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_pairs = _free_pairs()
