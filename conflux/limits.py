"""Every limit with its unit, in one place. A queue, batch, loop or payload without one here is a defect."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# Values and frames.
VALUE_DEPTH_MAX = 32
STATE_DEPTH_MAX = 400
ACTION_BYTES_MAX = 256 * KIB
FRAME_BYTES_MAX = 1 * MIB
FORWARDED_BYTES_MAX = FRAME_BYTES_MAX - 1 * KIB  # what a follower passes on has an envelope around it
NUMBER_MAX = 2**62  # terms, indices and sequences from the network: never near a wrap
METHOD_NAME_BYTES_MAX = 256
ERROR_TEXT_BYTES_MAX = 2 * KIB

# One turn of the leader's loop: the batch that becomes one entry.
TURN_RECORDS_MAX = 512  # half of what a session may have unanswered: one half is judged while the other is told
TURN_BYTES_MAX = 512 * KIB
TURN_JUDGE_SECONDS_MAX = 0.005
APPLY_SLICE_SECONDS = 0.005
TURN_FRAMES_MAX = 4096

# Replication, per follower.
APPEND_BYTES_MAX = 768 * KIB
INFLIGHT_MESSAGES_MAX = 64
INFLIGHT_BYTES_MAX = 8 * MIB
UNCOMMITTED_ENTRIES_MAX = 256
UNCOMMITTED_BYTES_MAX = 16 * MIB
TAIL_CACHE_BYTES_MAX = 16 * MIB

# Snapshots: taken when the log has grown past either since the last one.
SNAPSHOT_ENTRIES = 20_000
SNAPSHOT_BYTES = 8 * MIB

# Requests waiting at a node, before the log.
WAITING_REQUESTS_MAX = 16 * 1024
WAITING_BYTES_MAX = 64 * MIB

# Sessions.
SESSIONS_MAX = 10_000
UNANSWERED_MAX = 1024
SESSION_SECONDS = 3600

# Peers, watchers, clients.
MEMBERS_MAX = 9
REPLACEMENTS_MAX = 1  # members beyond that, while one takes another's place
TOKENS_MAX = 16  # invitations to join that wait for someone
TOKEN_SECONDS = 24 * 3600  # of log time
CANDIDATES_MAX = 64
PEERS_MAX = 64
PAST_STATES_MAX = 16  # that are being worked out for somebody
WATCHERS_MAX = 1024
WATCH_EVENTS_PER_FRAME_MAX = 1024
WATCH_LEASE_SECONDS = 10.0
SEND_HIGH_WATER_MARK = 256
RECEIVE_HIGH_WATER_MARK = 1024

# Transport timings, in milliseconds.
HANDSHAKE_MS = 2000
LINK_HEARTBEAT_MS = 1000
LINK_TIMEOUT_MS = 3000
RECONNECT_MS_MIN = 100
RECONNECT_MS_MAX = 500  # more would delay the elections after a restart

# Disk.
MAP_BYTES = 64 * 1024 * MIB
JOURNAL_BYTES = 1 * MIB  # then LMDB takes what it holds
FORMAT_VERSION = 3
ARTEFACT_VERSION = 1  # of files that are carried away: saved snapshots, exported logs
ARTEFACT_BLOCK_BYTES_MAX = 16 * MIB
COMPACT_ENTRIES_MAX = 1024  # deleted in one transaction
COMPACT_BYTES_MAX = 8 * MIB
ARCHIVE_VERSION = 1
ARCHIVE_SEGMENT_ENTRIES = 20_000  # of one file of an archive
ARCHIVE_UNWRITTEN_BYTES_MAX = 8 * MIB  # a writer that has more of it is behind
SNAPSHOT_CHUNK_BYTES = 256 * KIB
SNAPSHOT_FIELDS_BYTES_MAX = 64 * KIB
SNAPSHOT_UNSYNCED_BYTES_MAX = 32 * MIB  # a writer that has more of it is behind
HASH_POINT_BYTES_MIN = 64 * KIB
HASH_POINTS_KEPT = 16
DISPATCH_QUEUE_EVENTS_MAX = 64 * 1024
