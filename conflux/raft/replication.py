"""Log replication: sections 5.3 and 5.4.2, with the flow control of section 10.2 of the thesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from conflux.raft import heartbeats, reads, snapshots, transfer
from conflux.raft.configuration import quorum_index
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import invariant
from conflux.raft.messages import Accepted, Append, Heartbeat, HeartbeatReply, NodeId, Rejected
from conflux.raft.progress import Mode, Progress
from conflux.raft.roles import Leader

if TYPE_CHECKING:
    from conflux.raft.core import Raft


_Sized: TypeAlias = tuple[Append, int]  # and the bytes of its payloads

APPEND_ENTRIES_MAX = 2048  # with 64 bytes around each they add 128 KiB to what append_bytes_max allows


# -- the follower's side -------------------------------------------------------------------------------------------


def on_append(raft: Raft, leader: NodeId, append: Append) -> None:
    """Take the leader's entries where the logs agree before them, else say where to look next."""
    if not raft.heard_from_leader(leader):
        return None
    log = raft.log
    if append.prev_index > log.last_index:
        hint = Rejected(prev_index=append.prev_index, conflict_term=0, conflict_index=log.last_index + 1)
        return raft.reply(leader, hint)
    if append.prev_index >= log.snapshot_index and not log.matches(append.prev_index, append.prev_term):
        invariant(append.prev_index > raft.commit_index, "a committed entry is never dropped")
        conflict_term = log.term_at(append.prev_index)
        first = log.first_index_of_term_at(append.prev_index)
        hint = Rejected(prev_index=append.prev_index, conflict_term=conflict_term, conflict_index=first)
        return raft.reply(leader, hint)
    for entry in append.entries:
        _take(raft, entry)
    match_index = append.prev_index + len(append.entries)
    raft.commit_to(min(append.commit_index, match_index))  # not further than this message has verified
    return raft.reply(leader, Accepted(match_index=match_index))


def on_heartbeat(raft: Raft, leader: NodeId, heartbeat: Heartbeat) -> None:
    """The leader lives. A round of 0 asks for no answer."""
    if not raft.heard_from_leader(leader):
        return
    # The leader named at most what we confirmed to it; the bound here is for a peer that is out of its mind.
    raft.commit_to(min(heartbeat.commit_index, raft.log.last_index))
    if heartbeat.round:
        raft.reply(leader, HeartbeatReply(round=heartbeat.round))


def _take(raft: Raft, entry: Entry) -> None:
    """Take one entry: known ones stay (a late message must not cut the log), a conflict cuts from there on."""
    log = raft.log
    if entry.index <= log.last_index:
        if entry.index <= log.snapshot_index or log.term_at(entry.index) == entry.term:
            return
        raft.truncate_from(entry.index)
    raft.append(entry)


# -- the leader's side ---------------------------------------------------------------------------------------------


def append_own(raft: Raft, payload: bytes, kind: Kind) -> Entry:
    """Add an entry of this term to the leader's own log."""
    role = raft.role
    invariant(isinstance(role, Leader), "only a leader appends of itself")
    assert isinstance(role, Leader)
    entry = Entry(raft.log.last_index + 1, raft.term, kind, payload)
    raft.append(entry)
    role.uncommitted.append((entry.index, len(payload)))
    role.uncommitted_bytes += len(payload)
    return entry


def tick_leader(raft: Raft, role: Leader) -> None:
    """One tick of a leader: heartbeats, and a look whether a quorum still answers."""
    role.heartbeat_elapsed += 1
    heard = [raft.identity]
    for peer, progress in role.progress.items():
        progress.silence += 1
        if progress.silence < raft.options.election_ticks_min:
            heard.append(peer)
    if not raft.configuration.has_quorum(heard):
        return raft.become_follower(raft.term, leader=None)  # thesis 6.2
    transfer.tick(raft, role)
    if role.heartbeat_elapsed >= raft.options.heartbeat_ticks:
        heartbeats.broadcast(raft, role)
    return None


def ticks_to_timer(raft: Raft, role: Leader) -> int:
    """Ticks until a heartbeat is due, a follower falls silent, or a transfer is given up: never too many."""
    options = raft.options
    ticks = options.heartbeat_ticks - role.heartbeat_elapsed
    for progress in role.progress.values():
        falls_silent = options.election_ticks_min - progress.silence
        if 0 < falls_silent < ticks:
            ticks = falls_silent
    if role.transferee is not None:
        ticks = min(ticks, options.election_ticks_max - role.transfer_elapsed)
    return max(1, ticks)


def replicate(raft: Raft, role: Leader) -> None:
    """Send each follower what it lacks, as far as the limits allow."""
    appends: dict[int, _Sized] = {}  # by their first index: followers that are level get the same one
    for peer, progress in role.progress.items():
        if progress.next_index > raft.log.last_index and progress.mode is Mode.REPLICATE:
            continue  # all of it is on its way, or there
        if progress.next_index <= raft.log.snapshot_index and progress.mode is Mode.REPLICATE:
            progress.probe_from(progress.next_index)  # the log was cut under a slow follower
        if progress.mode is Mode.PROBE and progress.may_send(raft.options):
            progress.probe_round = role.round
            _send_probe(raft, peer, progress, appends)
        while (
            progress.mode is Mode.REPLICATE
            and progress.next_index <= raft.log.last_index
            and progress.may_send(raft.options)
        ):
            _send_append(raft, peer, progress, appends)


def on_accepted(raft: Raft, follower: NodeId, accepted: Accepted) -> None:
    """A follower holds the log up to an index: maybe a majority does now."""
    role, progress = _of_follower(raft, follower)
    if role is None or progress is None or accepted.match_index > raft.log.last_index:
        return
    progress.silence = 0
    if accepted.match_index < progress.match_index:
        return  # late
    progress.accepted(accepted.match_index)
    if accepted.match_index > raft.commit_index:
        advance_commit(raft, role)
    transfer.hand_over_when_level(raft, role)


def on_rejected(raft: Raft, follower: NodeId, rejected: Rejected) -> None:
    """The logs don't agree there: look further back."""
    role, progress = _of_follower(raft, follower)
    if role is None or progress is None:
        return
    progress.silence = 0
    if not progress.match_index < rejected.prev_index <= raft.log.last_index:
        return  # late: the logs were found to agree beyond it since
    if progress.mode is Mode.PROBE and rejected.prev_index != progress.next_index - 1:
        return  # answers an older probe
    progress.probe_from(_next_index_after(raft, rejected))


def on_heartbeat_reply(raft: Raft, follower: NodeId, reply: HeartbeatReply) -> None:
    """The follower lives, and what was sent to it before this round is either taken or lost."""
    role, progress = _of_follower(raft, follower)
    if role is None or progress is None or reply.round > role.round:
        return
    progress.silence = 0
    progress.acked_round = max(progress.acked_round, reply.round)
    at_round, sent = progress.sent_at_round
    if progress.mode is Mode.PROBE:
        if reply.round > progress.probe_round:
            progress.probe_sent = False
    elif reply.round >= at_round and progress.match_index < sent:
        # Links are first in, first out: an Append sent before this heartbeat would have been answered before it.
        progress.probe_from(progress.match_index + 1)
    reads.confirm(raft, role)


def advance_commit(raft: Raft, role: Leader) -> None:
    """Commit what a majority holds on disk, if it is of this term (section 5.4.2, Figure 8)."""
    reached = {peer: progress.match_index for peer, progress in role.progress.items()}
    reached[raft.identity] = raft.log.stable_index
    index = quorum_index(reached, raft.configuration)
    if index <= raft.commit_index or raft.log.term_at(index) != raft.term:
        return
    raft.commit_to(index)
    while role.uncommitted and role.uncommitted[0][0] <= index:
        role.uncommitted_bytes -= role.uncommitted.popleft()[1]


def _next_index_after(raft: Raft, rejected: Rejected) -> int:
    """Where to look next: skip a whole term a round trip (end of section 5.3)."""
    if rejected.conflict_term == 0:
        return min(rejected.conflict_index, rejected.prev_index)
    ours = raft.log.last_index_at_or_below_term(rejected.conflict_term)
    if raft.log.term_at(ours) == rejected.conflict_term:
        return min(ours + 1, rejected.prev_index)
    return min(ours + 1, rejected.conflict_index, rejected.prev_index)


def _of_follower(raft: Raft, follower: NodeId) -> tuple[Leader | None, Progress | None]:
    role = raft.role
    if not isinstance(role, Leader):
        return None, None
    return role, role.progress.get(follower)


def _send_probe(raft: Raft, peer: NodeId, progress: Progress, appends: dict[int, _Sized]) -> None:
    if progress.next_index <= raft.log.snapshot_index:
        snapshots.offer(raft, peer, progress)
    else:
        _send_append(raft, peer, progress, appends)


def _send_append(raft: Raft, peer: NodeId, progress: Progress, appends: dict[int, _Sized]) -> None:
    first = progress.next_index
    if first not in appends:
        appends[first] = _append_from(raft, first)
    append, payload_bytes = appends[first]
    last_index = append.prev_index + len(append.entries)
    progress.sent(last_index, payload_bytes)
    progress.commit_sent = max(progress.commit_sent, min(raft.commit_index, last_index))
    raft.send_early(peer, append)


def _append_from(raft: Raft, first: int) -> _Sized:
    """The log from `first` on, as far as one message takes it."""
    log, prev_index = raft.log, first - 1
    invariant(prev_index >= log.snapshot_index, "a follower behind the snapshot is not fed from the log")
    entries: tuple[Entry, ...] = ()
    if first <= log.last_index:
        last = min(log.last_index, prev_index + APPEND_ENTRIES_MAX)
        entries = log.entries(first, last, raft.options.append_bytes_max)
    prev_term = log.term_at(prev_index)
    append = Append(prev_index=prev_index, prev_term=prev_term, entries=entries, commit_index=raft.commit_index)
    return append, sum([len(entry.payload) for entry in entries])
