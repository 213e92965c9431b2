"""What tests of other processes share."""

from __future__ import annotations

from pathlib import Path

import pytest

NOBODYS_PID = 2**22 + 1  # above what Linux gives out

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc says who is dying here")
