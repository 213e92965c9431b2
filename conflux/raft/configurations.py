"""`Configurations`: which configuration is in force, as the log says it.

A configuration takes effect when its entry is appended, committed or not (thesis, section 4.1), so a log that is cut
back takes the older one with it: the ones before it are kept until a snapshot includes them.
"""

from __future__ import annotations

from collections.abc import Iterable

from conflux.raft.configuration import Configuration
from conflux.raft.invariant import invariant


class Configurations:
    """The configurations of one log.

    Args:
        base: the one in force at `base_index`: what is before it is committed.
        later: (index of its entry, configuration) of those that the log holds behind it, ascending.

    Attributes:
        current: the one in force.
        newest_index: of the entry that holds it; where the log holds none, the base's index.
    """

    def __init__(
        self, base: Configuration, base_index: int = 0, later: Iterable[tuple[int, Configuration]] = ()
    ) -> None:
        self._keep([(base_index, base), *later])

    def at(self, index: int) -> Configuration:
        """The one in force once entries up to `index`, not before the base, are in the log."""
        return next(configuration for since, configuration in reversed(self._all) if since <= index)

    def after(self, index: int) -> list[Configuration]:
        """Those that the log holds behind `index`, oldest first."""
        return [configuration for since, configuration in self._all if since > index]

    def append(self, index: int, configuration: Configuration) -> None:
        """The entry at `index`, the log's new last, holds a configuration."""
        invariant(index > self.newest_index, "a configuration follows the one before it")
        self._keep([*self._all, (index, configuration)])

    def truncate(self, first: int) -> bool:
        """Entries from `first` on are gone. True where another configuration is in force now (G3)."""
        kept = [each for each in self._all if each[0] < first]
        invariant(bool(kept), "the snapshot's configuration is committed and stays")
        changed = len(kept) < len(self._all)
        self._keep(kept)
        return changed

    def compact(self, index: int) -> None:
        """A snapshot includes everything up to `index`."""
        if index > self._all[0][0]:
            self._keep([(index, self.at(index)), *(each for each in self._all if each[0] > index)])

    def reset(self, index: int, configuration: Configuration) -> None:
        """A snapshot takes the place of the whole log."""
        self._keep([(index, configuration)])

    def _keep(self, configurations: list[tuple[int, Configuration]]) -> None:
        self._all = configurations
        self.newest_index, self.current = configurations[-1]
