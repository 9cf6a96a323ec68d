"""Authentication: finds the caller of a request by its bearer token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from control.access.caller import Caller, CallerKind
from control.access.oidc import Oidc
from kubefox.access_token import AccessToken, parse_token, prove
from kubefox.errors import Unauthenticated
from kubefox.grants import Grant, Role
from kubefox.stored_token import StoredToken

OWNERS_GRANTS = (Grant(role=Role.ADMIN),)

_CHECK_S = 1.0
_SCHEME = "bearer"
_CURE = (
    "use the data folder of `fox up` (--data-dir), or give a token with FOX_TOKEN or --token-file"
)
# Compared in place of a stored hash, so that an unknown id takes the same time as a known one.
_NO_DIGEST = "0" * 64


class Authenticator:
    """Finds callers by their tokens.

    Args:
        owner: The token of the platform's owner.
        find: Returns the stored token with an id, or None.
        oidc: Reads the tokens of an OIDC issuer; None without one.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        owner: AccessToken,
        find: Callable[[str], StoredToken | None] = lambda _id: None,
        oidc: Oidc | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._owner = owner
        self._find = find
        self._oidc = oidc
        self._now = now
        self._secret = secrets.token_bytes()

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller with this Authorization header.

        Raises:
            Unauthenticated: The header is missing, or its token is not valid.
            IssuerUnavailable: The token is of the OIDC issuer, which does not answer.
        """
        if authorization is None:
            raise Unauthenticated(f"the control API needs a token: {_CURE}")
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != _SCHEME:
            raise Unauthenticated(f"the Authorization header is no bearer token: {_CURE}")
        caller = await self._find_caller(text.strip())
        if caller is None:
            # One text for unknown, expired and revoked ones: nothing of a token can be guessed.
            raise Unauthenticated(f"the token is unknown, has expired or was revoked: {_CURE}")
        return caller

    async def _find_caller(self, text: str) -> Caller | None:
        if (token := parse_token(text)) is not None:
            return self._caller(token)
        return None if self._oidc is None else await self._oidc.caller(text)

    def _caller(self, token: AccessToken) -> Caller | None:
        if hmac.compare_digest(token.digest, self._owner.digest):
            return Caller(
                kind=CallerKind.OWNER, name="owner", grants=OWNERS_GRANTS, token_id=token.id
            )
        stored = self._find(token.id)
        is_same = hmac.compare_digest(token.digest, stored.digest if stored else _NO_DIGEST)
        if stored is None or not is_same or stored.expires_at_s <= self._now():
            return None
        return Caller(
            kind=CallerKind.TOKEN,
            name=stored.name,
            grants=stored.grants,
            token_id=stored.id,
            expires_at_s=stored.expires_at_s,
        )

    async def wait_ended(self, caller: Caller) -> None:
        """Return about a second after the token of a caller has expired or was revoked."""
        while self._is_valid(caller):  # noqa: ASYNC110 - time ends it too
            await asyncio.sleep(_CHECK_S)

    def _is_valid(self, caller: Caller) -> bool:
        is_known = caller.kind is not CallerKind.TOKEN or self._find(caller.token_id) is not None
        return is_known and (caller.expires_at_s is None or caller.expires_at_s > self._now())

    async def prove(self, token_id: str, nonce: bytes, address: str, port: int) -> str:
        """Return the proof that this process knows a token; see ``access_token.prove``.

        For an unknown id it is that of a token that nobody has, so it does not tell whether an id
        exists.
        """
        # Both are worked out, so that an unknown id takes the same time as a known one.
        nobodys = hmac.new(self._secret, token_id.encode(), hashlib.sha256).hexdigest()
        return prove(self._digest_of(token_id) or nobodys, nonce, address, port)

    def _digest_of(self, token_id: str) -> str | None:
        if token_id == self._owner.id:
            return self._owner.digest
        stored = self._find(token_id)
        return stored.digest if stored else None
