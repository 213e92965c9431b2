"""Reads a trace with marks (`failpoints/marks.py`) and finds what was sent before it was on disk.

A persist is on disk once a write to the journal and then an fdatasync of it have returned. Where LMDB takes it at once:
its commit is an fdatasync of the pages, then a write of the meta page through a descriptor that syncs each write
(O_DSYNC). A mark stands before the hand-over to the transport, so a mark after all that proves that no frame left
before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MARK = re.compile(r'"/conflux-mark/([^"]*)"')
CALL = re.compile(r"(\d+) .*?\b(fdatasync|pwrite64|pwritev2?|writev)\b")
FILE = re.compile(r"\(\d+<[^>]*/([^/>]*)>")
RESULT = re.compile(r"= (-?\d+)[^=]*$")


@dataclass(slots=True)
class Order:
    """What is on disk while the trace is read."""

    last: int  # index of the log's last entry on disk
    term: int = 0
    vote: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    _writing: tuple[int, str, int] | None = None
    _steps: list[tuple[str, str]] = field(default_factory=list)  # (call, file) of those that returned since
    _files: dict[str, str] = field(default_factory=dict)  # of calls that did not return yet, by thread

    def read(self, lines: Iterable[str]) -> Order:
        for line in lines:
            if found := MARK.search(line):
                if "resumed>" not in line:
                    self._on_mark(line, *found[1].split("/"))
            elif (found := CALL.match(line)) and self._writing is not None:
                self._on_call(line, *found.groups())
        return self

    def _on_call(self, line: str, thread: str, call: str) -> None:
        if file := FILE.search(line):
            self._files[thread] = file[1]
        result = RESULT.search(line)
        if "unfinished" not in line and result is not None and int(result[1]) >= 0:
            self._steps.append(("sync" if call == "fdatasync" else "write", self._files.get(thread, "")))

    def _on_disk(self) -> bool:
        """Whether what was begun is on disk after these steps."""
        steps = self._steps
        in_journal = steps[-2:] == [("write", "journal"), ("sync", "journal")]
        return in_journal or (("sync", "data.mdb") in steps and steps[-1:] == [("write", "data.mdb")])

    def _on_mark(self, line: str, what: str, *words: str) -> None:
        match what:
            case "persist":
                self._writing = (int(words[0]), words[1], int(words[2]))
                self._steps.clear()
            case "persisted":
                self._persisted(line)
            case "accepted":
                self._expect(int(words[1]) <= self.last and self._reached(int(words[0])), what, line)
            case "answer":
                self._expect(int(words[1]) <= self.last, what, line)
            case "vote":
                self._expect((self.term, self.vote) == (int(words[0]), words[1]), what, line)

    def _persisted(self, line: str) -> None:
        self._expect(self._writing is not None and self._on_disk(), "persist", line)
        if self._writing is not None:
            self.term, self.vote, last = self._writing
            self.last = last or self.last
        self._writing = None

    def _reached(self, term: int) -> bool:
        return not self.term or term <= self.term

    def _expect(self, is_on_disk: bool, what: str, line: str) -> None:
        self.counts[what] += 1
        if not is_on_disk or (self._writing is not None and what != "persist"):
            self.violations.append(f"{what} before it was on disk: {line}")
