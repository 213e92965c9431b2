"""The error that tells a caller of a rejection."""

from __future__ import annotations

import builtins

from conflux.errors import MethodRejected, ReducerFailed
from conflux.wire.clients import Rejection


def rejected(rejection: Rejection) -> MethodRejected:
    """The error for a rejection, with the method's own exception as cause: of its class where that is a builtin's."""
    kind = ReducerFailed if rejection.by_reducer else MethodRejected
    error = kind(f"{rejection.type}: {rejection.message}" if rejection.message else rejection.type)
    known = getattr(builtins, rejection.type, None)
    cause: Exception
    if (
        isinstance(known, type)
        and issubclass(known, Exception)
        and known not in (UnicodeDecodeError, UnicodeEncodeError)
    ):
        try:
            cause = known(rejection.message)
        except TypeError:
            cause = Exception(str(error))
    else:
        cause = (
            type(rejection.type, (Exception,), {})(rejection.message) if rejection.type.isidentifier() else Exception()
        )
    error.__cause__ = cause
    return error
