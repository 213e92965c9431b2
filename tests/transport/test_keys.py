"""The cluster key and its file."""

from __future__ import annotations

import errno
import os
import stat

import pytest
import zmq

from conflux.errors import ConfluxError, OptionsError
from conflux.transport.keys import ClusterKey, KeyPair

KEY = ClusterKey(bytes(range(32)))


def write(path, text: str, mode: int = 0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_comes_back_from_its_file(tmp_path):
    KEY.save(tmp_path / "cluster.key")
    assert ClusterKey.load(tmp_path / "cluster.key") == KEY


def test_only_the_owner_can_read_a_saved_key(tmp_path):
    old = os.umask(0)
    try:
        KEY.save(tmp_path / "cluster.key")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "cluster.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path):
    path = write(tmp_path / "cluster.key", "precious")
    with pytest.raises(ConfluxError, match="there already"):
        KEY.save(path)
    assert path.read_text() == "precious"


def test_a_key_is_not_written_through_a_dangling_link(tmp_path):
    (tmp_path / "cluster.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfluxError):
        KEY.save(tmp_path / "cluster.key")
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_file_is_whole_from_its_first_moment_on(tmp_path, monkeypatch):
    """A command that looks for it beside the `start` that makes it must not find half of it."""
    path, seen = tmp_path / "cluster.key", []
    sync = os.fsync

    def look_and_sync(descriptor):
        seen.append(path.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look_and_sync)
    ClusterKey.generate().save(path)
    assert seen[0] is False and path.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["cluster.key"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO])
def test_a_file_system_without_links_takes_a_key_too(tmp_path, monkeypatch, number):
    def link(*paths):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    path, key = tmp_path / "cluster.key", ClusterKey.generate()
    if number == errno.EIO:
        with pytest.raises(ConfluxError, match="can't be written: Input/output error"):
            key.save(path)
        assert not [*tmp_path.iterdir()]
        return
    key.save(path)
    assert ClusterKey.load(path) == key
    with pytest.raises(ConfluxError, match="is there already"):
        key.save(path)
    assert ClusterKey.load(path) == key and [each.name for each in tmp_path.iterdir()] == ["cluster.key"]


def test_a_directory_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfluxError, match="can't be made"):
        KEY.save(tmp_path / "nowhere" / "cluster.key")


def test_a_key_file_is_a_comment_and_one_line_for_the_hand(tmp_path):
    KEY.save(tmp_path / "cluster.key")
    comment, line = (tmp_path / "cluster.key").read_text().splitlines()
    assert comment.startswith("#")
    assert KEY.fingerprint in comment
    assert [len(group) for group in line.split("-")] == [8] * 7


@pytest.mark.parametrize("change", [str.lower, lambda text: text.replace("-", " "), lambda text: f"\n  {text}\n\n"])
def test_a_copy_by_hand_may_look_different(tmp_path, change):
    KEY.save(tmp_path / "cluster.key")
    line = (tmp_path / "cluster.key").read_text().splitlines()[1]
    assert ClusterKey.load(write(tmp_path / "copy.key", change(line))) == KEY


def test_a_wrong_letter_is_found(tmp_path):
    KEY.save(tmp_path / "cluster.key")
    line = (tmp_path / "cluster.key").read_text().splitlines()[1]
    for at in (0, 20, len(line) - 1):
        wrong = "B" if line[at] != "B" else "C"
        with pytest.raises(OptionsError, match="wrong character"):
            ClusterKey.load(write(tmp_path / "copy.key", line[:at] + wrong + line[at + 1 :]))


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "AAAA\n", "é" * 63, "A" * 63, "A" * 56 + "\n" + "A" * 56, "x" * 9999]
)
def test_what_is_no_key_is_one_line(tmp_path, text):
    with pytest.raises(OptionsError, match="no cluster key") as caught:
        ClusterKey.load(write(tmp_path / "cluster.key", text))
    assert caught.value.hint


def test_what_is_no_key_is_not_made_one_by_chmod(tmp_path):
    with pytest.raises(OptionsError, match="no cluster key") as caught:
        ClusterKey.load(write(tmp_path / "cluster.key", "secret", 0o644))
    assert "chmod" not in caught.value.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_j8_a_key_that_others_can_reach_is_refused(tmp_path, mode):
    KEY.save(tmp_path / "the cluster.key")
    (tmp_path / "the cluster.key").chmod(mode)
    with pytest.raises(OptionsError) as caught:
        ClusterKey.load(tmp_path / "the cluster.key")
    assert caught.value.hint == f"chmod 600 '{tmp_path}/the cluster.key'"


def test_a_missing_key_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(OptionsError) as caught:
        ClusterKey.load(tmp_path / "cluster.key")
    assert f"conflux keygen {tmp_path}/cluster.key" in caught.value.hint


def test_what_is_not_a_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OptionsError):
            ClusterKey.load(path)


def test_keys_and_pairs_do_not_show_their_secrets():
    pair = KEY.peer_pair()
    assert KEY.secret.hex() not in repr(KEY) and str(KEY.secret) not in repr(KEY)
    assert pair.secret.decode() not in repr(pair)


def test_the_two_roles_have_pairs_of_their_own_that_any_holder_of_the_key_derives():
    assert KEY.peer_pair() == ClusterKey(KEY.secret).peer_pair()
    assert KEY.peer_pair().public != KEY.client_pair().public
    for pair in (KEY.peer_pair(), KEY.client_pair(), KeyPair.generate()):
        assert zmq.curve_public(pair.secret) == pair.public
        assert len(pair.public) == len(pair.secret) == 40


def test_derived_pairs_never_change():
    """They are in the format: nodes of two versions must agree on them."""
    assert KEY.fingerprint == "30ca5428a22d7a4d"
    assert KEY.peer_pair().public == b"xO%iY>I%n12Rzw>]+$Uw0N@b=<XH]C]mg7+Al(70"
    assert KEY.client_pair().public == b"Gh=YnldeQlxfzzh9@fw=B0Wl2wbWo^lAX@=2%$sw"


def test_every_key_is_another():
    assert ClusterKey.generate() != ClusterKey.generate()
    assert ClusterKey.generate().fingerprint != KEY.fingerprint


def test_a_key_has_32_bytes():
    with pytest.raises(ValueError, match="32"):
        ClusterKey(b"short")
