"""The public keys of an OIDC issuer: fetched, kept, and fetched again when they rotate.

A known key is used at once, also while the issuer is away. An unknown one makes the process fetch
the keys again, but only so often: tokens with invented key ids do not reach the issuer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from jwt import PyJWK, PyJWTError

from kubefox.errors import IssuerUnavailable

logger = logging.getLogger(__name__)

REFRESH_S = 3_600.0
"""Age at which the keys are fetched again: so long a key is trusted that the issuer has removed."""
MAX_AGE_S = 86_400.0
"""Age up to which keys are used while the issuer is away."""
PAUSE_S = 10.0
"""Shortest time between two attempts."""
TIMEOUT_S = 5.0
MAX_BYTES = 1 << 20
_MAX_KEYS = 100
_DISCOVERY = "/.well-known/openid-configuration"

ALGORITHMS: Mapping[tuple[str, str], frozenset[str]] = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
"""The algorithms that a key may be used with, by its type and curve. All of them are asymmetric."""

_FAILURES = (OSError, TimeoutError, aiohttp.ClientError, ValueError, msgspec.MsgspecError)


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


_decode_discovery = msgspec.json.Decoder(_Discovery).decode
_decode_key_set = msgspec.json.Decoder(_KeySet).decode

Fetch = Callable[[str], Awaitable[bytes]]


class SigningKeys:
    """The keys of one issuer.

    Args:
        issuer: URL of the issuer.
        fetch: Returns the content of a URL; raises OSError, TimeoutError or aiohttp.ClientError.
        now: Clock in seconds.
    """

    def __init__(
        self, issuer: str, fetch: Fetch, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, dict[str, Any]] = {}
        self._parsed: dict[tuple[str, str], PyJWK] = {}
        self._fetched_at_s: float | None = None
        self._tried_at_s: float | None = None
        self._has_failed = False
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        """Return the key with an id, for an algorithm; None if the issuer has no such key.

        Raises:
            IssuerUnavailable: The key is unknown, and the issuer does not answer.
        """
        if self._age_s() > MAX_AGE_S:
            self._keys, self._parsed = {}, {}
        if key_id not in self._keys:
            await self._refreshed()
        elif self._age_s() > REFRESH_S:
            self._begin_refresh()
        if key_id not in self._keys:
            if self._has_failed:
                raise IssuerUnavailable(
                    f"the OIDC issuer {self._issuer} does not answer, and the token has a key that "
                    "is not known yet: try again"
                )
            return None
        return self._key(key_id, algorithm)

    async def close(self) -> None:
        """End a fetch that is running."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def _key(self, key_id: str, algorithm: str) -> PyJWK | None:
        place = (key_id, algorithm)
        if place not in self._parsed:
            jwk = self._keys[key_id]
            if algorithm not in _algorithms_of(jwk):
                return None
            try:
                self._parsed[place] = PyJWK(jwk, algorithm)
            except PyJWTError as error:
                logger.warning("key %r of %s cannot be used: %s", key_id, self._issuer, error)
                return None
        return self._parsed[place]

    def _age_s(self) -> float:
        return 0 if self._fetched_at_s is None else self._now() - self._fetched_at_s

    async def _refreshed(self) -> None:
        self._begin_refresh()
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)

    def _begin_refresh(self) -> None:
        if self._refreshing is not None and not self._refreshing.done():
            return
        if self._tried_at_s is not None and self._now() - self._tried_at_s < PAUSE_S:
            return
        self._tried_at_s = self._now()
        self._refreshing = asyncio.ensure_future(self._refresh())

    async def _refresh(self) -> None:
        try:
            keys = await self._read()
        except _FAILURES as error:
            self._has_failed = True
            logger.warning("the keys of OIDC issuer %s cannot be read: %s", self._issuer, error)
            return
        self._keys, self._parsed = keys, {}
        self._fetched_at_s, self._has_failed = self._now(), False

    async def _read(self) -> dict[str, dict[str, Any]]:
        """Return the keys by their ids.

        Raises:
            ValueError, MsgspecError: The answer is not that of an issuer.
            OSError, TimeoutError, ClientError: It does not answer.
        """
        found = _decode_discovery(await self._fetch(self._issuer.rstrip("/") + _DISCOVERY))
        if found.issuer != self._issuer:
            raise ValueError(f"it calls itself {found.issuer!r}")
        key_set = _decode_key_set(await self._fetch(found.jwks_uri))
        return {
            str(key["kid"]): key
            for key in key_set.keys[:_MAX_KEYS]
            if "kid" in key and key.get("use", "sig") == "sig" and _algorithms_of(key)
        }


def _algorithms_of(jwk: Mapping[str, Any]) -> frozenset[str]:
    kind = jwk.get("kty")
    curve = "" if kind == "RSA" else jwk.get("crv")
    allowed = ALGORITHMS.get((str(kind), str(curve)), frozenset())
    return allowed if "alg" not in jwk else allowed & {jwk["alg"]}
