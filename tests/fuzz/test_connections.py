"""D8: thousands of raw connections with garbage at both ports of a live node. It serves on, and keeps nothing of it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from random import Random

import pytest

from tests.faults.cluster import FaultCluster
from tests.fuzz.budget import CONNECTIONS, GROWTH_BYTES_MAX, SEED
from tests.fuzz.memory import resident_bytes

WARM_UP = CONNECTIONS // 10
OPEN_MAX = 60
ROUNDS = 10
ANSWERS_BETWEEN = 5
LOG_BYTES_MAX = 100_000
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"%s" + bytes(48)  # of ZMTP 3.1, with the mechanism to fill in


def garbage(random: Random) -> bytes:
    """Anything that a socket may be told: nothing, noise, HTTP, beginnings of ZMTP that go wrong at some point."""
    noise = random.randbytes(random.randrange(2000))
    mechanism = random.choice([b"CURVE", b"NULL", b"PLAIN", b"X" * 20]).ljust(20, b"\0")
    greeting = GREETING.replace(b"%s", mechanism)
    return random.choice(
        [
            b"",
            noise,
            b"GET / HTTP/1.1\r\nHost: conflux\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,
            b"\xff" * random.randrange(1, 300),
            b"\x01\x00",  # ZMTP 1.0: an empty identity
            b"\x00\xff\xff\xff\xff\xff\xff\xff\xff" + noise,
            greeting[: random.randrange(1, 64)],
            greeting + noise,
            greeting + b"\x06\xff\xff\xff\xff\xff\xff\xff\xff" + noise,  # a command as long as all memory
            greeting + b"\x04\xc8\x05HELLO" + random.randbytes(194),
        ]
    )


def throw(address: tuple[str, int], count: int, random: Random) -> int:
    """Open so many connections, a few of them at the same time; gives how many got through."""
    still_open: list[socket.socket] = []
    done = 0
    for number in range(count):
        target = (address[0], address[1] + number % 2)  # the port of clients and the one of peers
        with contextlib.suppress(OSError):
            connection = socket.create_connection(target, timeout=5)
            still_open.append(connection)
            connection.setblocking(False)
            done += 1
            connection.send(garbage(random))
        while len(still_open) > OPEN_MAX:
            still_open.pop(random.randrange(len(still_open))).close()
    for connection in still_open:
        connection.close()
    return done


@pytest.mark.timeout(300)
def test_garbage_at_both_ports_of_a_live_node_costs_neither_memory_nor_service(
    make_cluster: Callable[..., FaultCluster], report: Callable[..., None], thrown: Callable[..., None]
) -> None:
    cluster = make_cluster(3)
    label = cluster.leader()
    pid = cluster.pid(label)
    assert pid is not None
    host, _, port = cluster.rows()[label]["endpoint"].rpartition(":")
    random = Random(SEED)
    with cluster.load(clients=2, pause_s=0.02) as load:
        throw((host, int(port)), WARM_UP, random)
        before, done = resident_bytes(pid), 0
        for _ in range(ROUNDS):
            done += throw((host, int(port)), CONNECTIONS // ROUNDS, random)
            load.await_more(ANSWERS_BETWEEN)
        verdict = cluster.settle(load)
    growth = resident_bytes(pid) - before
    assert cluster.pid(label) == pid and done > CONNECTIONS * 0.95
    assert growth < GROWTH_BYTES_MAX, f"{growth:,} bytes more"
    assert len(cluster.node_log(label)) < LOG_BYTES_MAX
    thrown(connections=done)
    report(verdict, connections=done, growth_kib=growth // 1024)
