"""The harness itself: what it cuts is cut, what it doesn't is not, and nothing is left behind."""

from __future__ import annotations

import select
import subprocess
import sys

import pytest

from tests.lan.namespaces import PREFIX, ip
from tests.lan.network import Lan

# Answers each datagram to its sender with the same; says so when it is ready.
ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 9000))
print("ready", flush=True)
while True:
    data, sender = server.recvfrom(100)
    print(data.decode(), flush=True)
    server.sendto(data, sender)
"""
# Sends a text to an address once or some times, and says whether an answer came.
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(0.2)
for _ in range(3):
    try:
        client.sendto(sys.argv[2].encode(), (sys.argv[1], 9000))
        print(client.recv(100).decode())
        break
    except OSError:
        pass
"""
# Keeps a link of TCP to an address and reports the lines that come back.
LINK = """
import socket, sys
link = socket.create_connection((sys.argv[1], 9001), 5)
for line in sys.stdin:
    link.sendall(line.encode())
"""
SINK = """
import socket
server = socket.create_server(("", 9001))
print("ready", flush=True)
for line in server.accept()[0].makefile():
    print(line, end="", flush=True)
"""


@pytest.fixture
def two(make_lan, processes):
    lan = make_lan(2)
    one, two = lan.hosts
    echo = processes.add(two.popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True))
    assert echo.stdout.readline() == "ready\n"
    return lan, one, two, echo


def asks(host, other, text="hello"):
    return host.run([sys.executable, "-c", ASK, other.address, text]).stdout.strip()


def test_hosts_reach_each_other_until_they_are_split_and_again_when_it_is_healed(two):
    lan, one, other, _ = two
    assert asks(one, other) == "hello"
    lan.split([one])
    assert asks(one, other) == ""
    lan.heal()
    assert asks(one, other) == "hello"


def test_a_pulled_cable_cuts_a_host_off_until_it_is_back(two):
    _, one, other, _ = two
    other.unplug()
    assert asks(one, other) == ""
    other.plug()
    assert asks(one, other) == "hello"


def test_a_deaf_host_sends_and_hears_nothing(two):
    _, one, other, echo = two
    assert asks(one, other) == "hello"
    assert echo.stdout.readline() == "hello\n"
    one.deaf()
    assert asks(one, other, "deaf") == ""
    assert echo.stdout.readline() == "deaf\n"
    one.hears_again()
    assert asks(one, other) == "hello"


def test_what_one_host_drops_from_another_it_can_still_send(two):
    _, one, other, echo = two
    one.drops_from(other)
    assert asks(one, other, "one way") == ""
    assert echo.stdout.readline() == "one way\n"
    one.hears_again()
    assert asks(one, other) == "hello"


def test_a_link_that_stands_is_dropped_from_too(make_lan, processes):
    one, other = make_lan(2).hosts
    sink = processes.add(other.popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True))
    assert sink.stdout.readline() == "ready\n"
    link = processes.add(one.popen([sys.executable, "-c", LINK, other.address], stdin=subprocess.PIPE, text=True))
    for text in ("before\n", "during\n"):
        link.stdin.write(text)
        link.stdin.flush()
        if text == "before\n":
            assert sink.stdout.readline() == text
            other.drops_from(one)
    assert not select.select([sink.stdout], [], [], 0.3)[0]
    other.hears_again()
    assert sink.stdout.readline() == "during\n"  # TCP sent it again


def test_a_moved_host_is_reached_at_its_new_address_only(two):
    _, one, other, _ = two
    old = other.address
    other.move("10.77.0.99")
    assert asks(one, other) == "hello"
    assert one.run([sys.executable, "-c", ASK, old, "hello"]).stdout == ""


def test_a_failure_inside_the_block_leaves_neither_namespaces_nor_processes(make_lan):
    with pytest.raises(ZeroDivisionError), Lan(2) as lan:
        process = lan.hosts[0].popen(["sleep", "600"])
        raise ZeroDivisionError
    assert process.wait(5) == -9
    assert lan.name not in ip("netns", "list")


def test_what_a_killed_run_left_behind_goes_with_the_next_lan(make_lan):
    dead = subprocess.Popen(["true"])
    dead.wait()
    ip("netns", "add", f"{PREFIX}-{dead.pid}-1")
    make_lan(1)
    assert f"{PREFIX}-{dead.pid}-" not in ip("netns", "list")
