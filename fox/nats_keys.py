"""The keys of a NATS server for the platform: an operator, its account, a key that signs users.

Those of the embedded server are made at its first start and stored beside its data. The key that
signs users is made at each start: what it has signed ends with the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from broker.nats.credentials.account_key import AccountKey
from broker.nats.credentials.claims import account_token, operator_token
from broker.nats.credentials.nkeys import KeyKind, KeyPair, is_public
from kubefox.errors import InvalidRequest
from pods import private_files

MAX_REVOCATIONS = 10_000
"""Revoked users that are kept, the latest ones; all earlier credentials end with the server."""

KEYS_FILE = "keys.json"
ACCOUNT_KEY_FILE = "account.key"
_JETSTREAM_FOLDER = "jetstream"
_NO_ACCOUNT = "$G"
_ACCOUNT_NAME = "KUBEFOX"

_CONFIG = """\
operator: {operator}
system_account: {system}
resolver: MEMORY
resolver_preload {{ {system}: {system_token}, {account}: {account_token} }}
"""


class _Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``keys.json``; the server refuses a reload with other operator claims."""

    operator_seed: str
    operator_token: str
    system_account: str
    system_token: str
    account_seed: str


def new_keys() -> NatsKeys:
    """Return the keys of a new operator and its account."""
    return NatsKeys(_make_keys())


class NatsKeys:
    """The keys of one embedded server; made by ``open_nats_keys``.

    Attributes:
        account_key: Signs the credentials of the users.
        revocations: Users whose credentials are not valid any more; see ``account_token``.
    """

    def __init__(self, keys: _Keys) -> None:
        self._keys = keys
        self._operator = KeyPair.from_seed(keys.operator_seed, KeyKind.OPERATOR)
        account = KeyPair.from_seed(keys.account_seed, KeyKind.ACCOUNT)
        self._signer = KeyPair.generate(KeyKind.ACCOUNT)
        self.account_key = AccountKey(account.public, self._signer)
        self.revocations: dict[str, int] = {}

    @property
    def stored(self) -> bytes:
        """The content of ``keys.json``."""
        return msgspec.json.encode(self._keys)

    def revoke(self, users: Iterable[str]) -> None:
        """Revoke what was issued to some users until now; it counts with the next ``config``."""
        self.revocations.update(dict.fromkeys(users, int(time.time())))
        for user in list(self.revocations)[:-MAX_REVOCATIONS]:
            del self.revocations[user]

    @property
    def config(self) -> str:
        """Lines for the configuration of nats-server."""
        account = self.account_key.account
        token = account_token(
            self._operator,
            account,
            name=_ACCOUNT_NAME,
            now_s=time.time(),
            signing_keys=[self._signer.public],
            revocations=self.revocations,
        )
        keys = self._keys
        return _CONFIG.format(
            operator=keys.operator_token,
            system=keys.system_account,
            system_token=keys.system_token,
            account=account,
            account_token=token,
        )


def open_nats_keys(folder: Path) -> NatsKeys:
    """Return the keys of the server in ``folder``, and make them at the first start.

    Data that an earlier version stored without an account become those of the account.

    Raises:
        InvalidRequest: The stored keys cannot be read, or the data belong to several accounts.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=private_files.FOLDER_PERMISSIONS)
    path = folder / KEYS_FILE
    if not path.exists():
        private_files.create(path, new_keys().stored)
    try:
        keys = NatsKeys(msgspec.json.decode(path.read_bytes(), type=_Keys))
    except (msgspec.MsgspecError, InvalidRequest) as error:
        raise InvalidRequest(
            f"{path} is not readable: restore it from a backup, or remove it; new keys are made "
            "then, and the data stay"
        ) from error
    _adopt_data(folder / _JETSTREAM_FOLDER, keys.account_key.account)
    private_files.replace(folder / ACCOUNT_KEY_FILE, keys.account_key.text.encode())
    return keys


def _make_keys() -> _Keys:
    operator, system, account = (
        KeyPair.generate(kind) for kind in (KeyKind.OPERATOR, KeyKind.ACCOUNT, KeyKind.ACCOUNT)
    )
    now_s = time.time()
    return _Keys(
        operator_seed=operator.seed,
        operator_token=operator_token(operator, system_account=system.public, now_s=now_s),
        system_account=system.public,
        system_token=account_token(
            operator, system.public, name="SYS", now_s=now_s, has_jetstream=False
        ),
        account_seed=account.seed,
    )


def _adopt_data(folder: Path, account: str) -> None:
    """Give an account the data of a server without accounts, or of one whose keys are lost."""
    own = folder / account
    if own.exists() or not folder.is_dir():
        return
    others = [entry for entry in folder.iterdir() if entry.is_dir() and _is_account(entry.name)]
    if len(others) > 1:
        names = ", ".join(sorted(other.name for other in others))
        raise InvalidRequest(
            f"{folder} holds the data of several accounts, and none of them is this platform's: "
            f"rename the folder with its data to {own.name} ({names})"
        )
    for other in others:
        other.rename(own)


def _is_account(name: str) -> bool:
    return name == _NO_ACCOUNT or is_public(name, KeyKind.ACCOUNT)
