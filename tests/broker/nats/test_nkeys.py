"""Keys of NATS as text, and files with credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.nats.credentials import credentials_file
from broker.nats.credentials.account_key import AccountKey
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.login import Credentials
from broker.nats.credentials.nkeys import KeyKind, KeyPair, is_public
from kubefox.errors import InvalidRequest

# An example of the documentation of NATS.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def account_key() -> AccountKey:
    account = KeyPair.generate(KeyKind.ACCOUNT)
    return AccountKey(account.public, KeyPair.generate(KeyKind.ACCOUNT))


def test_a_seed_has_the_public_key_that_nats_derives() -> None:
    assert KeyPair.from_seed(SEED, KeyKind.USER).public == PUBLIC


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_pair_is_made_again_from_its_seed(kind: KeyKind) -> None:
    made = KeyPair.generate(kind)

    read = KeyPair.from_seed(made.seed, kind)

    assert (read.public, read.sign(b"nonce")) == (made.public, made.sign(b"nonce"))
    assert made.public[0] == kind.name[0]
    assert made.seed[:2] == f"S{kind.name[0]}"
    assert [other for other in KeyKind if is_public(made.public, other)] == [kind]


@pytest.mark.parametrize("seed", ["", "SU", PUBLIC, f"{SEED[:-1]}A", SEED.replace("SU", "SA", 1)])
def test_a_text_that_is_no_seed_is_refused_and_not_shown(seed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        KeyPair.from_seed(seed, KeyKind.USER)

    assert not seed or seed not in str(caught.value)


def test_the_file_of_an_account_key_is_read_as_it_is_written(tmp_path: Path) -> None:
    written = account_key()
    path = private_file(tmp_path, written.text)

    read = credentials_file.read(path)

    assert isinstance(read, AccountKey)
    assert read.text == written.text


def test_the_seed_of_the_account_itself_needs_no_public_key() -> None:
    account = KeyPair.generate(KeyKind.ACCOUNT)

    read = credentials_file.parse(f"{account.seed}\n")

    assert isinstance(read, AccountKey)
    assert read.account == account.public


def test_a_credentials_file_of_nats_is_read() -> None:
    minted = account_key().mint("somebody", ALL, now_s=1)

    read = credentials_file.parse(
        f"-----BEGIN NATS USER JWT-----\n{minted.token}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{minted.seed}\n------END USER NKEY SEED------\n"
    )

    assert read == minted
    assert isinstance(read, Credentials)
    assert minted.seed not in repr(read)


def test_a_file_without_credentials_is_refused_by_name(tmp_path: Path) -> None:
    path = private_file(tmp_path, "user: fox\n")

    with pytest.raises(InvalidRequest, match=rf"{path} is not valid: expected the seed"):
        credentials_file.read(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="none cannot be read: No such file"):
        credentials_file.read(tmp_path / "none")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = private_file(tmp_path, account_key().text)
    path.chmod(0o640)

    with pytest.raises(InvalidRequest, match=f"run chmod 600 {path}"):
        credentials_file.read(path)


def private_file(folder: Path, text: str) -> Path:
    path = folder / "credentials"
    path.touch(mode=0o600)
    path.write_text(text)
    return path
