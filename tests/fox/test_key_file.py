"""The key file: its format, its permissions, and what its errors say."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from broker.storage.key_encryption import WrappedKey
from fox.key_file import KeyFile
from kubefox.errors import InvalidRequest
from tests.security.running import run_fox

DATA_KEY = b"d" * 32
NAME = "platform.keys/data_keys/1"


def write(path: Path, text: str) -> KeyFile:
    """Write a key file as its operator does."""
    path.write_text(text)
    path.chmod(0o600)
    return KeyFile(path, is_own=False)


def line(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode() + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


async def test_the_platform_makes_a_private_file_once(path: Path) -> None:
    own = KeyFile(path, is_own=True)

    await own.create()
    made = path.read_text()
    await own.create()

    assert path.read_text() == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_data_key_comes_back_under_its_name_only(path: Path) -> None:
    keys = write(path, f"# ours\n\n{line('a')}")

    wrapped = await keys.wrap(DATA_KEY, NAME)

    assert await keys.unwrap(wrapped, NAME) == DATA_KEY
    with pytest.raises(InvalidRequest, match="was changed"):
        await keys.unwrap(wrapped, "platform.keys/data_keys/2")


async def test_the_last_key_wraps_and_all_unwrap(path: Path) -> None:
    keys = write(path, line("a"))
    by_first = await keys.wrap(DATA_KEY, NAME)
    write(path, line("a") + line("b"))

    by_last = await keys.wrap(DATA_KEY, NAME)

    assert by_first.by != by_last.by
    assert [await keys.unwrap(each, NAME) for each in (by_first, by_last)] == [DATA_KEY] * 2


async def test_an_own_file_is_renewed_and_trimmed(path: Path) -> None:
    own = KeyFile(path, is_own=True)
    await own.create()
    first = await own.wrap(DATA_KEY, NAME)

    await own.renew(first.by)
    second = await own.wrap(DATA_KEY, NAME)
    await own.renew(first.by)  # a rotation that is repeated makes no further key
    third = await own.wrap(DATA_KEY, NAME)
    await own.discard_all_but_newest()

    assert second.by == third.by != first.by
    assert await own.unwrap(second, NAME) == DATA_KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InvalidRequest, match="holds other keys"):
        await own.unwrap(first, NAME)


async def test_the_file_of_an_operator_is_never_changed(path: Path) -> None:
    keys = write(path, line("a"))
    wrapped = await keys.wrap(DATA_KEY, NAME)

    with pytest.raises(InvalidRequest, match=r"has no newer key.*openssl rand -base64 32 >>"):
        await keys.renew(wrapped.by)
    await keys.discard_all_but_newest()

    assert path.read_text() == line("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        (line("a") + "short\n", "line 2: expected 32 bytes in base64"),
        ("\x00\xff\n", "line 1"),
    ],
)
async def test_a_file_without_keys_is_refused_with_its_name(
    path: Path, text: str, message: str
) -> None:
    keys = write(path, text)

    with pytest.raises(InvalidRequest, match=message) as caught:
        await keys.wrap(DATA_KEY, NAME)

    assert str(path) in str(caught.value)


async def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    keys = write(path, line("a"))
    path.chmod(0o640)

    with pytest.raises(InvalidRequest, match=f"run chmod 600 {path}"):
        await keys.wrap(DATA_KEY, NAME)


async def test_a_missing_file_of_an_operator_is_not_made(path: Path) -> None:
    keys = KeyFile(path, is_own=False)

    with pytest.raises(InvalidRequest, match="does not exist"):
        await keys.create()
    with pytest.raises(InvalidRequest, match="does not exist"):
        await keys.unwrap(WrappedKey("x", "y"), NAME)

    assert not path.exists()


@pytest.mark.slow
def test_fox_up_takes_a_key_file_that_is_elsewhere(tmp_path: Path) -> None:
    missing = tmp_path / "keys" / "none"

    done = run_fox(tmp_path, "up", "--key-file", str(missing), FOX_HTTP_PORT="0")

    assert done.returncode == 1
    assert f"the key file {missing} cannot be read: it does not exist" in done.stderr
