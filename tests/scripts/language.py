"""The language of the scripts: each command is a method, `do_` and its first word. README.md has them on one page."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from typing import Any

from conflux.apps.list import app as list_app
from conflux.raft.configuration import Configuration
from conflux.raft.core import Raft
from conflux.raft.effects import RoleName
from conflux.raft.entry import Entry, Kind
from conflux.raft.messages import Heartbeat, NodeId, VoteRequest
from conflux.raft.roles import Leader
from conflux.wire.clients import CloseSession, OpenSession
from tests.raft.harness import Disk, members
from tests.scripts import words
from tests.scripts.lab import Client, Lab, ScriptError
from tests.scripts.selection import on_link, picked
from tests.scripts.sights import Sights

TICKS_MAX = 100


class Language(Sights):
    """Carries out commands, one at a time."""

    def __init__(self) -> None:
        super().__init__(Lab())

    def run(self, line: str) -> list[str]:
        """What one command makes the nodes say and do, a line each.

        Raises:
            ScriptError: there is no such command, or it can't be carried out now.
        """
        command, *rest = shlex.split(line)
        quiet = command == "quietly"
        if quiet:
            command, *rest = rest
        method: Callable[[list[str]], None] | None = getattr(self, f"do_{command}", None)
        if method is None:
            raise ScriptError(f"there is no command {command!r}")
        self.lab.lines, self.lab.posted = [], []
        try:
            method(rest)
        except (ValueError, IndexError, KeyError) as error:
            raise ScriptError(f"{line!r} makes no sense: {error!r}") from error
        return [] if quiet else self.lab.lines

    # -- the scene

    def do_cluster(self, rest: list[str]) -> None:
        """`cluster a b c [learner d] [running list]`"""
        if rest[-2:] == ["running", "list"]:
            self.lab.app, rest = list_app, rest[:-2]
        before, _, learners = " ".join(rest).partition(" learner")
        configuration = Configuration.of(before.split(), learners.split())
        for name in configuration.members:
            self.lab.add(name, configuration, Disk())
        self.lab.lines = []

    def do_start(self, rest: list[str]) -> None:
        """`start a with 1:x 1:y 2 [term 3] [vote b] [commit 1]`: a node as it starts from such a disk"""
        name, held = rest[0], list(takewhile(lambda word: word[0].isdigit(), rest[2:]))
        facts = rest[2 + len(held) :]
        given = dict(zip(facts[::2], facts[1::2], strict=True))
        disk = Disk([_entry(index, word) for index, word in enumerate(held, 1)])
        disk.term = int(given.get("term", disk.entries[-1].term if held else 0))
        disk.vote, disk.commit_index = given.get("vote"), int(given.get("commit", 0))
        self.lab.add(name, self.lab.nodes[name].configuration, disk)
        self.lab.lines = []

    def do_patience(self, rest: list[str]) -> None:
        """`patience a 12`: the ticks of its election time-out, from now on"""
        node = self.lab.node(rest[0])
        node.patience.ticks = int(rest[1])
        node.raft.draw_election_timeout()

    def do_elect(self, rest: list[str]) -> None:
        """`elect a`"""
        self.lab.elect(rest[0])

    # -- time, and the network

    def do_tick(self, rest: list[str]) -> None:
        """`tick [a b] [5 | until campaign | until heartbeat | until step-down]`"""
        names = list(takewhile(lambda word: word in self.lab.nodes, rest))
        until = rest[len(names) :]
        names = names or self.lab.up
        if until[:1] == ["until"]:
            return self._tick_until(names, until[1])
        for _ in range(int(until[0]) if until else 1):
            self.lab.tick(names)
        return None

    def do_deliver(self, rest: list[str]) -> None:
        """`deliver [all] [except] [a->b] [Append]`"""
        all_rounds = rest[:1] == ["all"]
        pick = picked(rest[1:] if all_rounds else rest)
        if not any(pick(each) and each.receiver in self.lab.up for each in self.lab.wire):
            raise ScriptError("no such message is on the way")
        if all_rounds:
            self.lab.deliver_all(pick)
        elif not self.lab.deliver(pick):
            self.lab.say("(waits for the disk)")
        if not self.lab.lines:
            self.lab.say("(without effect)")

    def do_drop(self, rest: list[str]) -> None:
        """`drop [except] [a->b] [Append]`"""
        if not self.lab.lose(picked(rest)):
            raise ScriptError("no such message is on the way")

    def do_delay(self, rest: list[str]) -> None:
        """`delay [except] [a->b] [Append]`: until `arrive`"""
        pick = picked(rest)
        self.lab.delayed += [each for each in self.lab.wire if pick(each)]
        self.lab.wire = [each for each in self.lab.wire if not pick(each)]

    def do_duplicate(self, rest: list[str]) -> None:
        """`duplicate [a->b] [Append]`: a copy of each comes late, at `arrive`"""
        pick = picked(rest)
        self.lab.delayed += [replace(each) for each in self.lab.wire if pick(each)]

    def do_arrive(self, rest: list[str]) -> None:
        """`arrive`: what was delayed is on the wire again, behind all else"""
        self.lab.wire += self.lab.delayed
        self.lab.delayed = []

    def do_wire(self, rest: list[str]) -> None:
        """`wire`"""
        self._say([words.message_line(each, self.lab.names) for each in self.lab.wire] or ["(nothing)"])

    def do_partition(self, rest: list[str]) -> None:
        """`partition a | b c`"""
        groups = [group.split() for group in " ".join(rest).split("|")]
        side = {name: number for number, group in enumerate(groups) for name in group}
        self._cut({(a, b) for a in side for b in side if side[a] != side[b]})

    def do_cut(self, rest: list[str]) -> None:
        """`cut a->b`: one way"""
        self._cut({(a, b) for a in self.lab.nodes for b in self.lab.nodes if on_link(rest[0], a, b)})

    def do_heal(self, rest: list[str]) -> None:
        """`heal`"""
        self.lab.cut.clear()

    # -- nodes and their disks

    def do_crash(self, rest: list[str]) -> None:
        """`crash a`"""
        self.lab.crash(rest[0])

    def do_restart(self, rest: list[str]) -> None:
        """`restart a`"""
        self.lab.restart(rest[0])

    def do_hold(self, rest: list[str]) -> None:
        """`hold disk a`: its next sync takes until `persist a`"""
        self.lab.node(rest[1]).disk_held = True

    def do_persist(self, rest: list[str]) -> None:
        """`persist a`: the sync returns, and the disk is as quick as ever"""
        node = self.lab.nodes[rest[0]]
        if not node.syncing:
            raise ScriptError(f"{rest[0]} has nothing to sync")
        node.disk_held = False
        node.finish_sync()

    # -- what a leader is asked

    def do_propose(self, rest: list[str]) -> None:
        """`propose a "x"`"""
        node = self.lab.node(rest[0])
        if not node.raft.may_propose:
            why = "hands over leadership" if node.role is RoleName.LEADER else "does not lead"
            return self.lab.say(f"{rest[0]} takes no proposal: it {why}")
        return node.turn(lambda: node.raft.propose(rest[1].encode()))

    def do_read(self, rest: list[str]) -> None:
        """`read a`"""
        node = self.lab.node(rest[0])
        self.lab.reads += 1
        node.turn(lambda: node.raft.read_index(self.lab.reads))

    def do_transfer(self, rest: list[str]) -> None:
        """`transfer a to b`"""
        node = self.lab.node(rest[0])
        if not node.raft.transfer_leadership(rest[2]):
            self.lab.say(f"{rest[0]} can't hand over to {rest[2]}")
        node.turn()

    # -- members and snapshots

    def do_join(self, rest: list[str]) -> None:
        """`join d`: a node with an empty disk that knows of the others"""
        first = next(iter(self.lab.nodes.values()))
        self.lab.add(rest[0], first.configuration, Disk())
        self.lab.lines = []

    def do_change(self, rest: list[str]) -> None:
        """`change a to a b c [learner d]`: a is asked for these members"""
        node = self.lab.node(rest[0])
        voters, _, learners = " ".join(rest[2:]).partition(" learner")
        if not node.raft.may_change_membership:
            return self.lab.say(f"{rest[0]} takes no change: {_why_no_change(node.raft)}")
        return node.turn(lambda: node.raft.change_membership(members(voters.split(), learners.split())))

    def do_members(self, rest: list[str]) -> None:
        """`members [a]`: who is in force"""
        for name in rest or self.lab.up:
            self.lab.say(f"{name}  {words.members_words(self.lab.nodes[name].raft.configuration)}")

    def do_snapshot(self, rest: list[str]) -> None:
        """`snapshot a`: of all that it has committed"""
        snapshot = self.lab.node(rest[0]).take_snapshot()
        self.lab.say(f"{rest[0]} has a snapshot up to {words.place(snapshot.index, snapshot.term)}")

    def do_compact(self, rest: list[str]) -> None:
        """`compact a`: its log is cut at its newest snapshot"""
        self.lab.node(rest[0]).compact()

    def do_install(self, rest: list[str]) -> None:
        """`install c from a`: c has fetched the newest snapshot of a"""
        node, snapshot = self.lab.node(rest[0]), self.lab.nodes[rest[2]].disk.newest
        if snapshot.index <= node.raft.commit_index:
            return self.lab.say(f"{rest[0]} has committed all that the snapshot includes")
        return node.turn(lambda: node.put_in_place(snapshot))

    # -- clients

    def do_session(self, rest: list[str]) -> None:
        """`session open s at a`, `session close s`"""
        if rest[0] == "open":
            client = self.lab.clients[rest[1]] = Client(rest[1], rest[3])
            return self.lab.request(client, OpenSession(0), "OpenSession")
        client = self.lab.clients[rest[1]]
        if client.id is None:
            raise ScriptError(f"the session {client.name} is not open")
        return self.lab.request(client, CloseSession(client.id), "CloseSession")

    def do_perform(self, rest: list[str]) -> None:
        """`perform s 0 append foo, append bar [at b]`; `void` fills the place of a call that was given up"""
        client = self.lab.clients[rest[0]]
        if rest[-2] == "at":
            client.at, rest = rest[-1], rest[:-2]
        self.lab.perform(client, int(rest[1]), [call.split() for call in " ".join(rest[2:]).split(",")])

    def do_later(self, rest: list[str]) -> None:
        """`later 3600`: seconds pass, for sessions only"""
        self.lab.clock.now_s += int(rest[0])
        for name in self.lab.up:
            self.lab.node(name).turn()

    # -- inside

    def _cut(self, links: set[tuple[NodeId, NodeId]]) -> None:
        self.lab.cut |= links
        self.lab.lose(lambda each: (each.sender, each.receiver) in links)

    def _tick_until(self, names: list[NodeId], event: str) -> None:
        led = [name for name in names if self.lab.nodes[name].role is RoleName.LEADER]
        happened: dict[str, Callable[[], Any]] = {
            "campaign": lambda: self._sent(names, VoteRequest) or len(self._leaders(names)) > len(led),
            "heartbeat": lambda: self._sent(names, Heartbeat),
            "step-down": lambda: len(self._leaders(led)) < len(led),
        }
        for ticks in range(1, TICKS_MAX):
            self.lab.tick(names)
            if happened[event]():
                return self.lab.lines.insert(0, f"(after {ticks} tick{'s' * (ticks > 1)})")
        raise ScriptError(f"no {event} in {TICKS_MAX} ticks")

    def _sent(self, names: list[NodeId], kind: type) -> bool:
        return any(each.sender in names and isinstance(each.message, kind) for each in self.lab.posted)

    def _leaders(self, names: list[NodeId]) -> list[NodeId]:
        return [name for name in names if self.lab.nodes[name].role is RoleName.LEADER]


def _why_no_change(raft: Raft) -> str:
    if not isinstance(raft.role, Leader):
        return "it does not lead"
    return "its no-op is not committed" if not raft.serves else "another one is not committed"


def _entry(index: int, word: str) -> Entry:
    term, _, text = word.partition(":")
    return Entry(index, int(term), Kind.NOOP if text == "noop" else Kind.RECORDS, text.encode())
