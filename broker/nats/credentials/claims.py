"""Claims of NATS: signed texts that say what an operator, an account or a user is.

nats-server accepts a user if the account, or one of the account's signing keys, has signed its
claims, and a trusted operator has signed those of the account. See
https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from broker.nats.credentials.nkeys import KeyPair

_VERSION = 2
_UNLIMITED = -1
_LIMITS = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
_JETSTREAM_LIMITS = ("mem_storage", "disk_storage", "streams", "consumer")
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


class Permissions(msgspec.Struct, frozen=True, kw_only=True):
    """The subjects that a user may use; everything else is refused.

    Attributes:
        publish: Patterns of the subjects that it may publish to.
        subscribe: Patterns of the subjects that it may subscribe to. ``<pattern> <queue>`` allows
            a subscription with that queue group only.
        no_publish: Patterns of subjects that it may not publish to, although ``publish`` has them.
        max_subscriptions: Subscriptions of each of its connections; each takes 0.7 KiB of the
            server's memory.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    no_publish: tuple[str, ...] = ()
    max_subscriptions: int = _UNLIMITED


ALL = Permissions(publish=(">",), subscribe=(">",))


def operator_token(operator: KeyPair, *, system_account: str, now_s: float) -> str:
    """Return the signed claims of an operator.

    Args:
        operator: Signs its own claims.
        system_account: Public key of the account of the server itself.
        now_s: Unix time.
    """
    nats = {"type": "operator", "version": _VERSION, "system_account": system_account}
    return _token(operator, operator.public, "kubefox", nats, now_s)


def account_token(
    operator: KeyPair,
    account: str,
    *,
    name: str,
    now_s: float,
    signing_keys: Sequence[str] = (),
    revocations: Mapping[str, int] | None = None,
    has_jetstream: bool = True,
) -> str:
    """Return the signed claims of an account without limits.

    Args:
        operator: Signs them.
        account: Public key of the account.
        name: For people.
        now_s: Unix time.
        signing_keys: Public keys that may sign the claims of users.
        revocations: Public keys of users, each with the Unix time up to which its claims were
            issued that are not valid any more.
        has_jetstream: Whether it may have streams; the system account may not.
    """
    names = (*_LIMITS, *(_JETSTREAM_LIMITS if has_jetstream else ()))
    nats: dict[str, Any] = {
        "type": "account",
        "version": _VERSION,
        "limits": {**dict.fromkeys(names, _UNLIMITED), "wildcards": True},
    }
    if signing_keys:
        nats["signing_keys"] = list(signing_keys)
    if revocations:
        nats["revocations"] = dict(revocations)
    return _token(operator, account, name, nats, now_s)


def user_token(
    signer: KeyPair, user: str, permissions: Permissions, *, account: str, name: str, now_s: float
) -> str:
    """Return the signed claims of a user, which never expire.

    Args:
        signer: Key pair of the account, or one of its signing keys.
        user: Public key of the user.
        permissions: Subjects that it may use.
        account: Public key of the account.
        name: For people.
        now_s: Unix time.
    """
    nats = {
        "type": "user",
        "version": _VERSION,
        "issuer_account": account,
        "subs": permissions.max_subscriptions,
        **dict.fromkeys(("data", "payload"), _UNLIMITED),
        "pub": {"allow": permissions.publish, "deny": permissions.no_publish},
        "sub": {"allow": permissions.subscribe},
    }
    return _token(signer, user, name, nats, now_s)


def _token(signer: KeyPair, subject: str, name: str, nats: Mapping[str, Any], now_s: float) -> str:
    claims = {
        "iat": int(now_s),
        "iss": signer.public,
        "sub": subject,
        "name": name,
        "nats": nats,
    }
    text = f"{_base64(msgspec.json.encode(_HEADER))}.{_base64(msgspec.json.encode(claims))}"
    return f"{text}.{_base64(signer.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
