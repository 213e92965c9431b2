"""What stands for a state wherever it leaves the reducer: the state itself, or what its app's `dump` gives for it.

Rule: whatever hashes, keeps, sends or compares a state encodes it with `encoder_of(app)`, and whatever makes a state
out of bytes ends with `loaded`. An app without `dump` gets the codec's own encoder, and nothing is called for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, TypeAlias

from conflux.app import App
from conflux.errors import ConfluxError, MalformedValue
from conflux.usercode import let_ctrl_c_through, user_code
from conflux.wire.state_decoder import StateDecoder
from conflux.wire.states import DIGEST_BYTES, encode_slices

# From a state to its encoding, in small pieces; at the end it gives whether such a state can't be changed.
Encode: TypeAlias = Callable[[Any], Generator[bytes, None, bool]]

KEEP_BOTH = "Nothing was changed. Start it with the `dump` and `load` that wrote the state."


def encoder_of(app: App[Any, Any]) -> Encode:
    """How this app's states are encoded. What it gives raises MalformedValue, as `encode_slices` does."""
    return encode_slices if app.dump is None else partial(_encode_dumped, app)


def dumped(app: App[Any, Any], state: Any) -> Any:
    """What stands for a state.

    Raises:
        MalformedValue: the app's `dump` raises.
    """
    if app.dump is None:
        return state
    try:
        with user_code():
            return app.dump(state)
    except BaseException as error:  # whatever the user's function raises
        let_ctrl_c_through(error)
        raise MalformedValue(f"the app's dump raises {type(error).__name__}: {error}") from error


def state_of(app: App[Any, Any], value: Any) -> Any:
    """The state that a value stands for: it may be made of it, so nobody else's.

    Raises:
        ConfluxError: the app's `load` raises.
    """
    if app.load is None:
        return value
    try:
        with user_code():
            return app.load(value)
    except BaseException as error:  # whatever the user's function raises
        let_ctrl_c_through(error)
        reason = f"{type(error).__name__}: {error}"
        raise ConfluxError(f"the app's load fails on what its dump gave: {reason}", hint=KEEP_BOTH) from error


def loaded(app: App[Any, Any], value: Any, digest: bytes) -> Generator[None, None, Any]:
    """The same; yields while what comes back is held against what was kept.

    Args:
        digest: of the bytes that it was decoded from.

    Raises:
        ConfluxError: `load` raises, or a dump of what it gives is not what was kept.
    """
    state = state_of(app, value)
    if app.load is None:
        return state
    hasher = _new_hasher()
    try:
        for piece in encoder_of(app)(state):
            hasher.update(piece)
            yield
    except (MalformedValue, RuntimeError) as error:
        raise ConfluxError(f"what the app's load gives can't be dumped again: {error}", hint=KEEP_BOTH) from error
    if hasher.digest() != digest:
        raise ConfluxError(
            "the app's load does not bring back what its dump gave: a dump of its state is another", hint=KEEP_BOTH
        )
    return state


def proven(app: App[Any, Any], state: Any) -> Iterator[bytes]:
    """A state's encoding, to be kept; it ends only where the app's `load` brings the state back.

    Raises:
        MalformedValue: it has no encoding, or does not come back.
    """
    if app.load is None:
        yield from encoder_of(app)(state)
        return
    proof = Loading(app)
    for piece in encoder_of(app)(state):
        proof.feed(piece)
        yield piece
        while proof.step():
            yield b""
    try:
        for _ in proof.finish():
            yield b""
    except ConfluxError as error:
        raise MalformedValue(str(error)) from error


def copied(app: App[Any, Any], state: Any) -> Any:
    """The same state, made from its encoding at once. Raises MalformedValue as `proven` does."""
    proof = Loading(app)
    for piece in encoder_of(app)(state):
        proof.feed(piece)
    steps = proof.finish()
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value
    except ConfluxError as error:
        raise MalformedValue(str(error)) from error


class Loading:
    """From an encoding's bytes to the state: `feed` some, `step` until there is no more to do, at the end `finish`.

    Args:
        bytes_max: how many will come, where it is known.
    """

    def __init__(self, app: App[Any, Any], bytes_max: int = 2**31 - 1) -> None:
        self._app = app
        self._decoder = StateDecoder(bytes_max)
        self._hasher = None if app.load is None else _new_hasher()

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        self._decoder.feed(piece)
        if self._hasher is not None:
            self._hasher.update(piece)

    def step(self) -> bool:
        """Do a little; True while there's more to do with what was fed. Raises MalformedValue: it is no state."""
        return self._decoder.step()

    def finish(self) -> Generator[None, None, Any]:
        """The state; yields while there is more to do.

        Raises:
            MalformedValue: these bytes are none.
            ConfluxError: as `loaded` does.
        """
        value = self._decoder.finish()
        return (yield from loaded(self._app, value, self._hasher.digest() if self._hasher is not None else b""))


def _new_hasher() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def _encode_dumped(app: App[Any, Any], state: Any) -> Generator[bytes, None, bool]:
    value = dumped(app, state)
    try:
        yield from encode_slices(value)
    except MalformedValue as error:
        raise MalformedValue(f"what the app's dump gives is no state: {error}") from error
    return False  # what stands for it says nothing of the state itself
