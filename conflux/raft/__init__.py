"""Raft, as a pure core: no clock, no socket, no disk, no thread. A chapter for a newcomer.

**The problem.** A few machines should hold the same list of entries, in the same order, although any minority of them
may crash and messages may be lost, repeated, delayed or reordered. Raft solves it with a strong leader.

**Terms** (section 5.1 of the paper) number the reigns. Each has at most one leader, since a node votes once a term,
on disk, and a leader needs a majority (`configuration`). Every message carries its sender's term in its `Envelope`
(`messages`); who sees a later term than its own follows it, who is asked in a past one says so.

**Elections** (`election`). A follower that hears no leader for a random time asks the others whether they *would*
vote for it (pre-vote, thesis 9.6), and only then raises its term and asks for real. So a node that was cut off comes
back without disturbing anyone. A vote goes only to a candidate whose log is at least as up to date as the voter's
(5.4.1): a leader therefore holds everything that was ever committed. A leader that hears no majority steps down
(check-quorum).

**Replication** (`replication`). The leader appends an entry to its own log and hands it to the others; each Append
names the entry before it, and a follower takes it only where its log agrees there. An entry is committed once a
majority holds it on disk *and* it is of the leader's own term (5.4.2, Figure 8) - which is why each term begins with
a no-op.

**Reads** (`reads`) need no entry: the leader notes its commit index, asks a majority whether it still leads, and
answers from that index on. **Transfer** (`transfer`) hands leadership to a voter that is level.

**Snapshots** (`snapshots`, section 7) let a log forget its beginning: who needs what is gone is offered one.
**Membership** (`membership`, thesis chapter 4) changes through the log, one voter at a time; a configuration is in
force from the moment its entry is appended (`configurations`).

**How it is driven.** `Raft` (`core`) has doors: `step` a message, let ticks pass, `propose` a payload, then
`take_effects` and carry them out in order (`effects`). Everything that came in since the last call is one turn, and
one turn is at most one sync: messages may leave before it only if they promise nothing about this node's disk.
Because time is ticks, chance an injected `Random`, and iteration sorted, a whole cluster runs in one thread from one
seed, and `invariants` is checked after each step.

**What is left out, and why.** Leases for reads: clocks and pauses break them. Joint consensus: single-server changes
need less machinery (thesis, chapter 4). Byzantine peers: a voter that lies is out of scope, a voter that sends
nonsense is dropped.
"""
