"""The commands that only look: none of them changes anything."""

from __future__ import annotations

from conflux.raft.effects import RoleName
from conflux.raft.messages import NodeId
from conflux.raft.roles import Leader
from tests.scripts import words
from tests.scripts.lab import Lab, ScriptError


class Sights:
    """What can be seen of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def do_log(self, rest: list[str]) -> None:
        """`log [a b]`"""
        nodes = {name: self.lab.nodes[name].raft for name in rest or self.lab.up}
        self._say(
            words.log_lines({name: (raft.log, raft.commit_index) for name, raft in nodes.items()}, self.lab.names)
        )

    def do_roles(self, rest: list[str]) -> None:
        """`roles [a b]`"""
        for name in rest or self.lab.up:
            raft = self.lab.nodes[name].raft
            of = f" of {raft.leader}" if raft.role.name is RoleName.FOLLOWER and raft.leader else ""
            self.lab.say(
                f"{name}  {raft.role.name}{of}, term {raft.term}, {_vote(raft.vote)}, commit {raft.commit_index}"
            )

    def do_status(self, rest: list[str]) -> None:
        """`status a`: how its followers are, as the leader sees them"""
        role = self.lab.nodes[rest[0]].raft.role
        if not isinstance(role, Leader):
            raise ScriptError(f"{rest[0]} does not lead")
        self._say(words.progress_lines(role))

    def do_disk(self, rest: list[str]) -> None:
        """`disk a`: what a crash would leave"""
        disk = self.lab.nodes[rest[0]].disk
        held = ", ".join(self.lab.entry(entry) for entry in disk.entries) or "no entries"
        base = f"snapshot up to {words.place(disk.base.index, disk.base.term)}, " if disk.base.index else ""
        self.lab.say(f"{rest[0]}  term {disk.term}, {_vote(disk.vote)}, commit {disk.commit_index}, {base}{held}")

    def do_state(self, rest: list[str]) -> None:
        """`state [a b]`: what the committed entries fold into"""
        for name in rest or self.lab.up:
            machine = self.lab.nodes[name].machine
            if machine is None:
                raise ScriptError("the cluster runs no app")
            sessions = ", ".join(self.lab.clients_of(machine.sessions)) or "none"
            self.lab.say(f"{name}  revision {machine.revision}: {list(machine.state)}; sessions: {sessions}")

    def _say(self, lines: list[str]) -> None:
        self.lab.lines += lines


def _vote(vote: NodeId | None) -> str:
    return f"vote {vote}" if vote else "no vote"
