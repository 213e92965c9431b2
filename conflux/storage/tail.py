"""`Tail`: the end of the log, as far as LMDB hasn't taken it yet."""

from __future__ import annotations

from conflux.raft.entry import Entry
from conflux.storage import layout


class Tail:
    """Entries `first`, `first` + 1 …, as their bytes. What LMDB holds from `first` on is no part of the log any more.

    Attributes:
        first: of the first entry here; without one it means nothing.
        values: of the entries, as `layout.encode_entry` makes them.
        size: bytes of the values.
    """

    __slots__ = ("first", "size", "values")

    def __init__(self) -> None:
        """Empty."""
        self.first = 0
        self.values: list[bytes] = []
        self.size = 0

    def write(self, first: int, values: list[bytes]) -> None:
        """One more write; it replaces all from `first` on. It may begin before this tail, and leaves no gap."""
        if not values:
            return
        if not self.values or first < self.first:
            self.first = first
        replaced = self.values[first - self.first :]
        if replaced:
            self.size -= sum(map(len, replaced))
            del self.values[first - self.first :]
        self.values += values
        self.size += sum(map(len, values))

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Entries first..last, at least one, then as many as `bytes_max` of payload allows."""
        entries: list[Entry] = []
        payload_bytes = 0
        for index, value in enumerate(self.values[first - self.first : last + 1 - self.first], first):
            payload_bytes += layout.payload_bytes(memoryview(value))
            if entries and payload_bytes > bytes_max:
                break
            entries.append(layout.decode_entry(index, memoryview(value)))
        return entries
