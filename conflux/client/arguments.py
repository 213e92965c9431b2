"""What callers hand to a client or a node, checked before it goes anywhere."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from conflux import limits
from conflux.client.call import Call, Caller
from conflux.errors import MalformedValue, OptionsError
from conflux.wire import values

REVISION_MAX = 2**62


def make_call(method: str, args: tuple[Any, ...], timeout: float | None, wait: str, caller: Caller) -> Call:
    """A call, checked before it goes anywhere.

    Raises:
        MalformedValue: an argument isn't a JSON value, or is too large.
    """
    if not _is_name(method):
        raise MalformedValue(f"a method's name has 1 to {limits.METHOD_NAME_BYTES_MAX} bytes")
    if wait not in ("committed", "appended"):
        raise OptionsError(f"wait is 'committed' or 'appended', not {wait!r}")
    deadline_s = None if timeout is None else time.monotonic() + timeout
    return Call(method, values.encode_list(args), deadline_s, caller, wait == "appended")


@lru_cache
def _is_name(method: str) -> bool:
    return 1 <= len(method.encode("utf-8", "surrogatepass")) <= limits.METHOD_NAME_BYTES_MAX


def revision_of(revision: object) -> int:
    """A revision that a caller named.

    Raises:
        OptionsError: it can't be one.
    """
    if type(revision) is not int or not 0 <= revision <= REVISION_MAX:
        raise OptionsError(f"a revision is a whole number from 0 on, not {revision!r}")
    return revision
