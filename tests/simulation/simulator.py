"""A cluster of cores in a hostile world, in one thread, from one seed.

    python -m tests.simulation.simulator SEED [--trace]

Rule: every choice comes from `self.random`, and every iteration is in a fixed order. One seed is one history.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random

from conflux.raft.configuration import Configuration
from conflux.raft.core import Raft
from conflux.raft.effects import Commit, Effect, Persist, ReadFailed, ReadReady, RoleChanged, Send, Truncated
from conflux.raft.messages import Envelope, NodeId
from conflux.raft.roles import Leader
from tests.raft.harness import Disk
from tests.simulation.checkers import Checker, Violation, all_checkers
from tests.simulation.knobs import Knobs

TICKS_TO_COPY_AN_ENTRY = 3  # there and back, and the announcement of its commit
TIMEOUTS_TO_RECOVER = 10  # longest election time-outs until a healed cluster must have served


class Host:
    """A machine: a disk that stays, a core that comes and goes, and a shell that may be slow."""

    raft: Raft

    def __init__(self, identity: NodeId, configuration: Configuration, knobs: Knobs) -> None:
        self.identity, self.configuration, self.knobs = identity, configuration, knobs
        self.disk = Disk()
        self.starts = 0
        self.up = False
        self.wakes_at = 0  # while down or paused
        self.clock_rate = 1.0

    def start(self, random: Random) -> None:
        self.starts += 1
        self.up = True
        self.inbox: deque[Envelope] = deque()
        self.effects: deque[Effect] = deque()  # not carried out yet; the first is a Persist that is being synced
        self.synced_at = 0
        self.clock = 0.0
        self.to_apply = 0
        self.waiting: dict[int, tuple[int, bytes]] = {}  # proposals by index
        self.raft = Raft(
            identity=self.identity,
            configuration=self.configuration,
            options=self.knobs.options,
            log=self.disk.log(self.knobs.options.tail_cache_bytes_max),
            random=Random(random.getrandbits(64)),
            noop_payload=lambda last: (
                b"no-op of %s, start %d, term %d" % (self.identity.encode(), self.starts, self.raft.term)
            ),
            term=self.disk.term,
            vote=self.disk.vote,
            commit_index=self.disk.commit_index,
        )


class Simulator:
    """One run. `run()` returns the hash of its trace, or raises what a checker or the core objects to."""

    def __init__(self, seed: int, checkers: Iterable[Checker] | None = None, *, trace: bool = False) -> None:
        self.random = Random(seed)
        self.knobs = Knobs.draw(self.random)
        self.checkers = list(all_checkers() if checkers is None else checkers)
        self.trace = trace
        self.hash = blake2b(digest_size=8)
        self.now = 0
        self.steps = 0
        self.healed = False
        configuration = Configuration.of(self.knobs.voters, self.knobs.learners)
        self.hosts = {name: Host(name, configuration, self.knobs) for name in configuration.members}
        self.wire: list[tuple[int, int, Envelope]] = []
        self.sequence = 0
        self.last_due: dict[tuple[NodeId, NodeId], int] = {}
        self.cuts: list[tuple[int, set[tuple[NodeId, NodeId]]]] = []  # (mended at, links)
        self.payloads = 0
        self.reads: dict[int, NodeId] = {}
        self.contexts = 0
        self.pending_answers: list[tuple[Host, int, int, int]] = []
        self.acknowledged: set[bytes] = set()
        self.answered: set[int] = set()

    def run(self) -> str:
        self.note("knobs", self.knobs)
        for host in self.hosts.values():
            self.start(host)
        while self.now < self.knobs.duration:
            self.accidents()
            self.clients()
            self.advance()
        self.heal()
        self.recover()
        for checker in self.checkers:
            checker.ended()
        return self.hash.hexdigest()

    def note(self, what: str, *details: object) -> None:
        """Part of the trace: two runs of a seed must note the same."""
        line = f"{self.now} {what} {details}"
        self.hash.update(line.encode())
        if self.trace:
            print(line)

    # -- time ----------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """One tick of the world."""
        self.now += 1
        self.cuts = [cut for cut in self.cuts if cut[0] > self.now]
        while self.wire and self.wire[0][0] <= self.now:
            self.arrive(heappop(self.wire)[2])
        for host in self.hosts.values():
            if host.wakes_at > self.now:
                continue
            if not host.up:
                self.start(host)
            self.turn(host)

    def turn(self, host: Host) -> None:
        """What a shell does: take in what came, let time pass, carry out effects."""
        host.clock += host.clock_rate
        if host.effects:
            if host.synced_at > self.now:
                return
            self.carry_out(host)
            if host.effects or not host.up:
                return
        # Time in which the loop itself was blocked is no evidence against the leader.
        ticks, host.clock = min(int(host.clock), host.raft.options.heartbeat_ticks), host.clock % 1
        if not self.knobs.messages_before_ticks:
            self.tick(host, ticks)
        self.take_in(host)
        if self.knobs.messages_before_ticks and host.up and not host.effects:
            self.tick(host, ticks)
            self.carry_out(host)
        if host.up and not host.effects:
            self.apply(host)
            host.raft.announce_commit()
            self.carry_out(host)

    def take_in(self, host: Host) -> None:
        """Step what came in, so many messages to a list of effects, unless the disk takes its time."""
        while True:
            for _ in range(min(len(host.inbox), self.knobs.turn_messages_max)):
                envelope = host.inbox.popleft()
                self.note("step", envelope)
                host.raft.step(envelope)
                self.stepped(host)
            self.carry_out(host)
            if not host.inbox or not host.up or host.effects:
                return

    def tick(self, host: Host, ticks: int) -> None:
        host.raft.tick(ticks)
        self.stepped(host)

    def stepped(self, host: Host) -> None:
        self.steps += 1
        for checker in self.checkers:
            checker.stepped(host)

    # -- effects -------------------------------------------------------------------------------------------------

    def carry_out(self, host: Host) -> None:
        """Carry out effects until there are none, the disk takes its time, or the machine dies."""
        while True:
            if not host.effects:
                host.effects.extend(host.raft.take_effects())
                if not host.effects:
                    return
            effect = host.effects[0]
            if isinstance(effect, Persist) and not self.healed and self.sync_takes_time(host):
                return
            host.effects.popleft()
            self.effect(host, effect)
            if not host.up:
                return

    def sync_takes_time(self, host: Host) -> bool:
        """True where this sync isn't over yet, or never will be."""
        if host.synced_at:
            over = host.synced_at <= self.now
            host.synced_at = 0 if over else host.synced_at
            return not over
        if self.random.random() < self.knobs.crash_at_sync:
            self.crash(host)
            return True
        if self.random.random() < self.knobs.slow_sync:
            host.synced_at = self.now + self.random.randint(1, self.knobs.slow_sync_max)
            return True
        return False

    def effect(self, host: Host, effect: Effect) -> None:
        match effect:
            case Send(envelope):
                for checker in self.checkers:
                    checker.sent(host, envelope)
                self.send(envelope)
                if not self.healed and self.random.random() < self.knobs.crash_at_send:
                    self.crash(host)
            case Persist():
                for checker in self.checkers:
                    checker.persisting(host, effect)
                host.disk.write(effect)
                host.raft.persisted(effect.term, effect.last_index)
                self.stepped(host)
            case Commit(first, last):
                self.commit(host, first, last)
            case ReadReady(contexts, index):
                for context in contexts:
                    self.answer(host, context, max(index, host.raft.applied_index))
            case RoleChanged() | Truncated():
                self.note("effect", host.identity, effect)
            case ReadFailed():
                pass

    def commit(self, host: Host, first: int, last: int) -> None:
        self.note("commit", host.identity, first, last)
        entries = host.disk.entries[first - 1 : last]
        for checker in self.checkers:
            checker.committed(host, entries)
        for entry in entries:
            term, payload = host.waiting.pop(entry.index, (0, b""))
            if term == entry.term:
                self.acknowledged.add(payload)
                for checker in self.checkers:
                    checker.acknowledged(entry.index, payload)
        host.to_apply = last
        if self.random.random() < self.knobs.apply_at_once:
            self.apply(host)

    def apply(self, host: Host) -> None:
        if host.to_apply > host.raft.applied_index:
            host.raft.applied(host.to_apply)

    def answer(self, host: Host, context: int, index: int) -> None:
        self.answered.add(context)
        for checker in self.checkers:
            checker.read_answered(host, context, index)

    # -- the network ---------------------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        knobs, random = self.knobs, self.random
        if self.healed:
            return self.schedule(envelope, 1)
        if random.random() < knobs.loss:
            return None
        for _ in range(2 if random.random() < knobs.duplication else 1):
            late = random.random() < knobs.late
            self.schedule(envelope, random.randint(1, knobs.late_max if late else knobs.delay_max))
        return None

    def schedule(self, envelope: Envelope, delay: int) -> None:
        link, due = (envelope.sender, envelope.receiver), self.now + delay
        if self.knobs.in_order:
            due = self.last_due[link] = max(due, self.last_due.get(link, 0))
        self.sequence += 1
        heappush(self.wire, (due, self.sequence, envelope))

    def arrive(self, envelope: Envelope) -> None:
        host = self.hosts[envelope.receiver]
        mended = [until for until, links in self.cuts if (envelope.sender, envelope.receiver) in links]
        if mended:
            if self.knobs.cut_holds:
                self.schedule(envelope, max(mended) - self.now)
        elif host.up:
            host.inbox.append(envelope)

    # -- accidents -----------------------------------------------------------------------------------------------

    def accidents(self) -> None:
        knobs, random = self.knobs, self.random
        if random.random() < knobs.partition:
            links = self.draw_partition()
            until = self.now + random.randint(1, knobs.partition_max)
            self.note("cut", sorted(links), until)
            self.cuts.append((until, links))
        if random.random() < knobs.crash:
            self.crash(self.victim())
        if random.random() < knobs.cold_start:
            for host in self.hosts.values():
                self.crash(host)
        if random.random() < knobs.pause:
            victim = self.victim()
            victim.wakes_at = max(victim.wakes_at, self.now + random.randint(1, knobs.pause_max))
            self.note("pause", victim.identity, victim.wakes_at)

    def victim(self) -> Host:
        leaders = self.leaders()
        if leaders and self.random.random() < self.knobs.pick_leader:
            return self.random.choice(leaders)
        return self.random.choice(list(self.hosts.values()))

    def draw_partition(self) -> set[tuple[NodeId, NodeId]]:
        names, random = list(self.hosts), self.random
        random.shuffle(names)
        kind = random.choice(["halves", "one way", "one link", "isolated", "deaf", "mute"])
        victim = self.victim().identity
        names.remove(victim)
        names.insert(0, victim)
        cut = random.randint(1, max(1, len(names) - 1)) if kind in ("halves", "one way") else 1
        here, there = names[:cut], names[cut:]
        if kind == "one link":
            there = there[:1]
        out = {(a, b) for a in here for b in there}
        back = {(b, a) for a, b in out}
        return {"one way": out, "mute": out, "deaf": back}.get(kind, out | back)

    def crash(self, host: Host) -> None:
        """Die: what isn't synced is gone, or just reached the disk."""
        if not host.up:
            return
        if host.effects and isinstance(host.effects[0], Persist) and self.random.random() < self.knobs.torn_is_synced:
            host.disk.write(host.effects[0])
        host.up = False
        host.wakes_at = self.now + self.random.randint(1, self.knobs.crash_max)
        host.effects.clear()
        self.note("crash", host.identity, host.wakes_at)

    def start(self, host: Host) -> None:
        self.note("start", host.identity, host.disk.term, len(host.disk.entries))
        host.start(self.random)
        skew = 0 if self.healed else self.knobs.clock_skew
        host.clock_rate = 1 + self.random.uniform(-skew, skew)
        self.stepped(host)

    # -- clients -------------------------------------------------------------------------------------------------

    def leaders(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.up and isinstance(host.raft.role, Leader)]

    def clients(self) -> None:
        """Ask something of the leaders; there may be several that think so."""
        knobs, random = self.knobs, self.random
        for host in self.leaders():
            if host.effects or host.wakes_at > self.now:
                continue
            if random.random() < knobs.propose:
                for _ in range(random.randint(1, knobs.propose_burst_max)):
                    self.propose(host)
            if random.random() < knobs.read:
                self.read(host)
            if random.random() < knobs.transfer:
                self.note("transfer", host.identity)
                host.raft.transfer_leadership(random.choice(list(self.hosts)))
            if random.random() < knobs.step_down:
                self.note("step down", host.identity)
                host.raft.step_down()

    def propose(self, host: Host) -> bytes | None:
        if not host.raft.may_propose:
            return None
        self.payloads += 1
        payload = b"%d" % self.payloads
        payload += b"." * self.random.randint(0, self.knobs.payload_max)
        index, term = host.raft.propose(payload)
        self.note("propose", host.identity, index, term)
        host.waiting[index] = (term, payload)
        self.stepped(host)
        return payload

    def read(self, host: Host) -> int:
        self.contexts += 1
        for checker in self.checkers:
            checker.read_asked(self.contexts)
        host.raft.read_index(self.contexts)
        self.stepped(host)
        return self.contexts

    # -- the end -------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """From now on nothing breaks: whatever is still wrong must mend itself."""
        self.note("heal")
        self.healed = True
        self.cuts = []
        self.last_due.clear()
        for host in self.hosts.values():
            host.wakes_at = host.synced_at = 0 if host.up else self.now
            host.clock_rate = 1.0

    def recover(self) -> None:
        """A healed cluster elects, commits a fresh entry on every node, and serves a read, soon."""
        behind = max(len(host.disk.entries) for host in self.hosts.values())  # with the smallest windows, one by one
        deadline = self.now + TIMEOUTS_TO_RECOVER * self.knobs.options.election_ticks_max
        if any(len(host.disk.entries) + 10 < behind for host in self.hosts.values()):
            deadline += TICKS_TO_COPY_AN_ENTRY * behind
        fresh: set[bytes] = set()
        asked: set[int] = set()
        while self.now < deadline:
            for host in self.leaders():
                if not host.effects and host.raft.serves and not fresh & self.acknowledged:
                    payload = self.propose(host)
                    fresh |= {payload} if payload else set()
                if not host.effects and not asked & self.answered:
                    asked.add(self.read(host))
            self.advance()
            if fresh & self.acknowledged and asked & self.answered and self.level():
                return
        state = [
            (each.identity, str(each.raft.role.name), each.raft.term, each.raft.commit_index) for each in self.up()
        ]
        raise Violation(f"a healed cluster serves within {TIMEOUTS_TO_RECOVER} election time-outs: {state}")

    def level(self) -> bool:
        """True where every node has committed what any node has."""
        return len({host.raft.commit_index for host in self.up()}) == 1

    def up(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.up]


def main(arguments: list[str]) -> None:
    for seed in (argument for argument in arguments if argument != "--trace"):
        simulator = Simulator(int(seed), trace="--trace" in arguments)
        print(f"seed {seed}: {simulator.run()} after {simulator.steps} steps")


if __name__ == "__main__":
    main(sys.argv[1:])
