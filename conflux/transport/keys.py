"""The cluster key: 32 random bytes in a file of its own, and the key pairs that are derived from it.

Who holds the cluster key is a peer. In this version the pairs of both roles are derived from it, so a client needs the
same file; they differ so that a client's socket can't send Raft messages by mistake, and so that the key of a node's
own can take the place of the peer pair later with no change of format.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import os
import secrets
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path

from conflux.errors import ConfluxError, OptionsError

KEY_BYTES = 32
KEY_FILE_BYTES_MAX = 4096
FINGERPRINT_BYTES = 8

# 32 + 3 bytes are 56 letters of base32 with no padding: seven groups of eight, for eyes and hands.
_CHECK_BYTES = 3
_GROUP_LETTERS = 8
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # where a file has one name only
_COMMENT = "# The key of a Conflux cluster ({fingerprint}). Who has it can read and write all of it: keep it secret."


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, each half 40 characters of Z85."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """A new pair, for a node's own directory."""
        import zmq

        public, secret = zmq.curve_keypair()
        return cls(public, secret)


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """The secret that a cluster's nodes and clients share."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a cluster key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def generate(cls) -> ClusterKey:
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClusterKey:
        """Read a key file.

        Raises:
            OptionsError: it is missing, others can read it, or what it holds is no key.
        """
        text, problem = _read_private(Path(path))
        lines = [line.strip() for line in text.splitlines()]
        texts = [line for line in lines if line and not line.startswith("#")]
        secret = _decode(texts[0]) if len(texts) == 1 else None
        if secret is not None and problem is not None:
            raise problem
        if secret is None:
            hint = "Copy the file again from where it was made: it ends in one line of seven groups of eight letters."
            raise OptionsError(f"{path} holds no cluster key, or one with a wrong character.", hint=hint)
        return cls(secret)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file that only its owner can read; it is on disk when the call returns.

        Raises:
            ConfluxError: something is there already, or the directory can't be written.
        """
        text = f"{_COMMENT.format(fingerprint=self.fingerprint)}\n{_encode(self.secret)}\n"
        _write_private(Path(path), text.encode())

    @property
    def fingerprint(self) -> str:
        """A short hash that may be shown to anyone: it tells keys apart and tells nothing else."""
        return self._derive(b"fingerprint")[:FINGERPRINT_BYTES].hex()

    def peer_pair(self) -> KeyPair:
        """What nodes dial each other with; also the server key of both sockets of a node."""
        return self._pair(b"curve/peer")

    def client_pair(self) -> KeyPair:
        """What clients dial nodes with."""
        return self._pair(b"curve/client")

    def _pair(self, label: bytes) -> KeyPair:
        import zmq
        from zmq.utils import z85

        secret = z85.encode(self._derive(label))
        return KeyPair(zmq.curve_public(secret), secret)

    def _derive(self, label: bytes) -> bytes:
        return hmac.digest(self.secret, b"conflux/1/" + label, "sha256")


def _encode(secret: bytes) -> str:
    letters = base64.b32encode(secret + _check(secret)).decode()
    return "-".join(letters[at : at + _GROUP_LETTERS] for at in range(0, len(letters), _GROUP_LETTERS))


def _decode(text: str) -> bytes | None:
    """The key in `text`, or None. A copy by hand may have lost its dashes or its capitals."""
    try:
        data = base64.b32decode(text.replace("-", "").replace(" ", "").upper())
    except (binascii.Error, ValueError):
        return None
    secret, check = data[:KEY_BYTES], data[KEY_BYTES:]
    return secret if len(secret) == KEY_BYTES and check == _check(secret) else None


def _check(secret: bytes) -> bytes:
    return hashlib.sha256(b"conflux/1/check" + secret).digest()[:_CHECK_BYTES]


def _read_private(path: Path) -> tuple[str, OptionsError | None]:
    """What the file holds, and why that must not be used as a key: others could have read or written it (J8)."""
    quoted = shlex.quote(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe would wait for a writer
    except FileNotFoundError:
        raise OptionsError(f"There is no key file {path}.", hint=f"Make one: conflux keygen {quoted}") from None
    except OSError as error:
        hint = f"See what is there: ls -ld {quoted}"
        raise OptionsError(f"The key file {path} can't be read: {error.strerror}.", hint=hint) from None
    try:
        status = os.fstat(descriptor)  # of what was opened, not of what the name points to by now
        if not stat.S_ISREG(status.st_mode):
            raise OptionsError(f"{path} is not a file.", hint=f"See what is there: ls -ld {quoted}")
        problem = None
        if status.st_uid not in (os.geteuid(), 0):
            problem = OptionsError(f"The key file {path} belongs to another user.", hint=f"sudo chown $USER {quoted}")
        elif stat.S_IMODE(status.st_mode) & 0o077:
            problem = OptionsError(f"Other users can read the key file {path}.", hint=f"chmod 600 {quoted}")
        return os.read(descriptor, KEY_FILE_BYTES_MAX).decode("ascii", "replace"), problem
    finally:
        os.close(descriptor)


def _write_private(path: Path, data: bytes) -> None:
    """Make a file of these bytes, whole from its first moment on: a command beside it may be looking for it."""
    quoted = shlex.quote(str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = f"See its directory: ls -ld {shlex.quote(str(path.parent))}"
        raise ConfluxError(f"{path} can't be made: {error.strerror}.", hint=hint) from None
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        _name(temporary, path)
        _sync_directory(path.parent)
    except FileExistsError:
        hint = f"A cluster is lost without its key, so nothing is overwritten. Look first: ls -l {quoted}"
        raise ConfluxError(f"{path} is there already.", hint=hint) from None
    except OSError as error:
        raise ConfluxError(f"{path} can't be written: {error.strerror}.", hint=f"df -h {quoted}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _name(temporary: Path, path: Path) -> None:
    """Give a file its name, where nothing has it; raises FileExistsError."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists() or path.is_symlink():
            raise FileExistsError(path) from None
        temporary.rename(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
