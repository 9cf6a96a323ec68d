"""Secrets of records are encrypted in JetStream, and readable only under their own record's key."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.cipher import Cipher
from broker.storage.sealed_records import SealedRecords, is_outdated
from kubefox import records
from kubefox.component import Value
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from kubefox.errors import InvalidEvent, Unavailable
from kubefox.records import Record
from kubefox.release import ReleaseManifest

PASSWORD = "correct-horse-battery"
DATA = EnvironmentData(vars={"colour": "red"}, secrets={"password": PASSWORD, "pins": ["1", "2"]})
KEY = "environment.dev"
DEV = Environment(name="dev", data=DATA)
HOLDERS: list[tuple[str, Record]] = [
    (KEY, DEV),
    ("virtual-environment.team-a", VirtualEnvironment(name="team-a", environment="dev", data=DATA)),
    (
        "manifest.team-a.r1",
        ReleaseManifest(id="r1", virtual_environment="team-a", deployments={}, data=DATA),
    ),
]

scalars = st.text(max_size=20) | st.booleans() | st.integers() | st.floats(allow_nan=False)
secrets = st.dictionaries(st.text("abc_-", min_size=1, max_size=9), scalars, max_size=4)


class OneKey:
    """A data cipher with one key, which counts what it decrypts."""

    def __init__(self, key_id: str = "k1", key: bytes = b"k" * 32) -> None:
        self.key_id = key_id
        self.decrypted = 0
        self._cipher = Cipher(key)

    def encrypt(self, content: bytes, name: str) -> str:
        return f"{self.key_id}.{self._cipher.seal(content, name)}"

    def decrypt(self, sealed: str, name: str) -> bytes:
        key_id, _, ciphertext = sealed.partition(".")
        if key_id != self.key_id:
            raise Unavailable(f"no key {key_id}")
        self.decrypted += 1
        return self._cipher.open(ciphertext, name)


@pytest.fixture
def cipher() -> OneKey:
    return OneKey()


@pytest.fixture
def sealed(cipher: OneKey) -> SealedRecords:
    return SealedRecords(cipher, memo_bytes=0)


@pytest.mark.parametrize(("key", "record"), HOLDERS)
def test_a_record_with_secrets_comes_back_and_shows_none_of_them(
    sealed: SealedRecords, key: str, record: Record
) -> None:
    value = sealed.encode(key, record)

    assert PASSWORD.encode() not in value
    assert b"password" not in value
    assert b'"colour":"red"' in value
    assert sealed.decode(key, value) == record


@given(secrets)
def test_secrets_of_every_type_come_back(values: dict[str, Value]) -> None:
    record = Environment(name="dev", data=EnvironmentData(secrets=values))
    sealed = SealedRecords(OneKey(), memo_bytes=0)

    assert sealed.decode(KEY, sealed.encode(KEY, record)) == record


def test_secrets_of_earlier_versions_are_read_as_they_are(sealed: SealedRecords) -> None:
    assert sealed.decode(KEY, records.encode(DEV)) == DEV


def test_secrets_that_were_moved_to_another_record_cannot_be_read(sealed: SealedRecords) -> None:
    value = sealed.encode(KEY, DEV)

    with pytest.raises(InvalidEvent, match="changed, or belongs elsewhere"):
        sealed.decode("environment.other", value)


def test_secrets_that_were_changed_cannot_be_read(sealed: SealedRecords) -> None:
    value = sealed.encode(KEY, DEV)
    at = value.index(b"k1.") + 20
    changed = value[:at] + (b"A" if value[at : at + 1] != b"A" else b"B") + value[at + 1 :]

    with pytest.raises(InvalidEvent, match=r"environment\.dev/data\.secrets"):
        sealed.decode(KEY, changed)


def test_a_record_without_secrets_is_stored_and_read_without_a_key(
    sealed: SealedRecords, cipher: OneKey
) -> None:
    plain = msgspec.structs.replace(DEV, data=EnvironmentData(vars={"colour": "red"}))

    value = sealed.encode(KEY, plain)

    assert value == records.encode(plain)
    assert sealed.decode(KEY, value) == plain
    assert cipher.decrypted == 0


def test_a_value_is_decrypted_once_and_own_writes_never(cipher: OneKey) -> None:
    reader, writer = SealedRecords(cipher), SealedRecords(cipher)
    value = writer.encode(KEY, DEV)

    assert [reader.decode(KEY, value) for _ in range(3)] == [DEV] * 3
    assert cipher.decrypted == 1
    assert writer.decode(KEY, value) == DEV
    assert cipher.decrypted == 1


def test_the_memory_for_decrypted_values_is_bounded(cipher: OneKey) -> None:
    reader = SealedRecords(cipher, memo_bytes=2_000)
    values = [(f"environment.e{at}", reader.encode(f"environment.e{at}", DEV)) for at in range(50)]

    for key, value in values:
        assert reader.decode(key, value) == DEV

    assert cipher.decrypted >= 40


def test_only_secrets_that_lack_the_current_key_are_outdated(sealed: SealedRecords) -> None:
    tricky = Environment(
        name="dev", data=EnvironmentData(vars={"x": '"secrets":{"', "y": '"secrets":{"":"k1.'})
    )

    assert is_outdated(records.encode(DEV), "k1")
    assert is_outdated(sealed.encode(KEY, DEV), "k2")
    assert not is_outdated(sealed.encode(KEY, DEV), "k1")
    assert not is_outdated(records.encode(tricky), "k1")
