"""Errors of the archive: what it holds, since when, whose it is, and what is said of what it lacks."""

from __future__ import annotations

import pytest

from conflux.cli import export_archive
from conflux.node.archiver import Archiver
from conflux.node.installing import Installer
from conflux.storage.archive import Archive, Owner
from conflux.storage.archive_writer import SegmentWriter
from conflux.storage.artefact import END, ArtefactWriter
from tests.cli import test_export_archive
from tests.node import test_archiver
from tests.storage import test_archive
from tests.teeth.hunts import Case
from tests.teeth.mutant import mutant


@mutant("archive", hunt=Case(test_archiver.test_what_is_cut_is_in_the_archive), quick=True)
def the_log_is_cut_before_the_archive_holds_it(patch: pytest.MonkeyPatch) -> None:
    """The log goes as soon as the archive was asked to keep it."""
    whole = Archiver.hold
    patch.setattr(Archiver, "hold", lambda self, index: whole(self, index) or True)


@mutant(
    "archive",
    hunt=Case(test_archive.test_an_archive_that_has_gone_is_an_error_of_the_file_that_is_written),
    quick=True,
)
def a_file_that_could_not_be_written_counts_as_written(patch: pytest.MonkeyPatch) -> None:
    """What the thread that writes an archive's file has met with is told to nobody, and the log is cut."""
    patch.setattr(SegmentWriter, "finish", lambda self: self._thread.join())


@mutant("archive", hunt=Case(test_archive.test_a_file_that_is_given_up_leaves_nothing), quick=True)
def a_file_is_there_before_it_is_whole(patch: pytest.MonkeyPatch) -> None:
    """A file grows under its own name, where whoever opens the archive takes it for what it shall be."""
    whole = ArtefactWriter.__init__

    def begin(self, path, *, force=False):
        whole(self, path, force=force)
        self._temporary.rename(path)

    def finish(self):
        self.write(END, self._hasher.digest())
        self._file.close()

    patch.setattr(ArtefactWriter, "__init__", begin)
    patch.setattr(ArtefactWriter, "finish", finish)


@mutant(
    "archive",
    hunt=Case(test_archiver.test_a_file_is_not_begun_again_before_the_one_that_was_given_up_is_gone),
    quick=True,
)
def two_threads_write_one_file(patch: pytest.MonkeyPatch) -> None:
    """After a failure a file is begun again, whether or not the thread that wrote it has ended."""
    whole = Archiver.has_work.fget

    def has_work(self):
        self._abandoned = None
        return whole(self)

    patch.setattr(Archiver, "has_work", property(has_work))


@mutant("archive", hunt=Case(test_archiver.test_an_entry_that_is_damaged_is_never_cut), quick=True)
def what_can_not_be_archived_is_cut_without(patch: pytest.MonkeyPatch) -> None:
    """Where the archive takes nothing, the node goes on as if it had none."""
    whole = Archiver._failed

    def failed(self, why):
        whole(self, why)
        self._archive.last_index = self._target
        self._told()

    patch.setattr(Archiver, "_failed", failed)


@mutant(
    "archive",
    hunt=Case(test_archiver.test_an_install_that_jumps_over_entries_is_a_gap_with_the_state_behind_it),
    quick=True,
)
def an_install_drops_what_is_not_archived(patch: pytest.MonkeyPatch) -> None:
    """Another node's snapshot takes the place of entries that only this archive would have kept."""
    whole = Installer.__init__
    patch.setattr(Installer, "__init__", lambda self, *given: whole(self, *given[:5]))


@mutant("archive", hunt=Case(test_archiver.test_what_was_never_committed_is_in_no_archive), quick=True)
def what_was_never_committed_is_archived(patch: pytest.MonkeyPatch) -> None:
    """Before an install the whole log is kept, with what others have overruled."""
    whole = Installer.__init__

    def init(self, replica, *given):
        *given, is_archived = given
        whole(self, replica, *given, lambda index: is_archived(max(index, replica.raft.log.last_index)))

    patch.setattr(Installer, "__init__", init)


@mutant("archive", hunt=Case(test_archiver.test_an_archive_that_begins_late_begins_with_the_state_there), quick=True)
def nothing_leads_to_what_is_behind_a_gap(patch: pytest.MonkeyPatch) -> None:
    """A file behind entries that the node never had begins without the state there."""
    patch.setattr(Archiver, "_snapshot", lambda self, index: None)


@mutant(
    "archive",
    hunt=Case(
        test_archive.test_another_nodes_is_refused_and_stays_as_it_was,
        (Owner(cluster="shop", label="n1", identity="b" * 32), "n1"),
    ),
    quick=True,
)
def an_archive_is_known_by_its_nodes_label(patch: pytest.MonkeyPatch) -> None:
    """A node writes into the archive of one that had its name before."""
    patch.setattr(Owner, "__eq__", lambda one, other: (one.cluster, one.label) == (other.cluster, other.label))


@mutant("archive", hunt=Case(test_archive.test_one_that_should_be_there_is_not_made_anew), quick=True)
def an_archive_that_is_gone_is_begun_anew(patch: pytest.MonkeyPatch) -> None:
    """While its disk is not mounted, a node archives into the empty directory in that one's place."""
    whole = Archive.open
    patch.setattr(Archive, "open", lambda root, owner, **_create: whole(root, owner))


@mutant(
    "archive",
    hunt=Case(test_export_archive.test_a_gap_is_an_error_unless_what_is_behind_it_is_asked_for),
    quick=True,
)
def a_gap_is_exported_as_if_nothing_were_missing(patch: pytest.MonkeyPatch) -> None:
    """An export begins behind the last gap, whether or not that was asked for."""
    whole = export_archive._without_gap
    patch.setattr(export_archive, "_without_gap", lambda runs, *, after_gap: whole(runs, after_gap=True))
