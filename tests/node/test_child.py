"""A child that can't even begin; all else is in tests/process/test_children.py, on real ones."""

from __future__ import annotations

import pytest

from conflux.errors import ConfluxError
from conflux.node import app_check, child


def test_what_the_system_has_no_room_for_is_an_error_of_ours(tmp_path):
    job = app_check.job("nowhere:app", ".")
    with pytest.raises(ConfluxError, match=r"^a look can't be started: No such file or directory$"):
        child.begin("a look", app_check.main, job, fresh=True, words_in=tmp_path / "gone")
