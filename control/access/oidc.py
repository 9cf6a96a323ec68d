"""Bearer tokens of an OIDC issuer: their signature and claims are checked, claims become roles."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec
from jwt import PyJWT, PyJWTError
from yarl import URL

from broker.runtime.client_sockets import open_connector
from control.access.caller import Caller, CallerKind
from control.access.signing_keys import MAX_BYTES, TIMEOUT_S, SigningKeys
from kubefox.errors import InvalidRequest
from kubefox.grants import Grant, parse_grant

LEEWAY_S = 30
"""Difference that the clocks of issuer and platform may have."""
_PARTS = 3
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens of an issuer are read.

    Attributes:
        issuer: Its URL, as in the claim ``iss``.
        audience: Expected in the claim ``aud``.
        claim: Claim with the groups or roles of the user; dots lead into objects.
        grants: Value of that claim to what it grants.
    """

    issuer: str
    audience: str
    claim: str
    grants: Mapping[str, tuple[Grant, ...]]


def oidc_settings(issuer: str, audience: str, claim: str, roles: str) -> OidcSettings:
    """Return the settings from their texts.

    Raises:
        InvalidRequest: They are not complete, or one is not valid.
    """
    if not audience:
        raise InvalidRequest("FOX_OIDC_ISSUER needs FOX_OIDC_AUDIENCE: the audience of the tokens")
    if not _is_url(issuer):
        raise InvalidRequest(f"FOX_OIDC_ISSUER {issuer!r} is not valid: expected https://…")
    return OidcSettings(
        issuer=issuer, audience=audience, claim=claim, grants=_grants_by_value(roles)
    )


class Oidc:
    """Finds the callers of an issuer's tokens.

    Args:
        settings: How tokens are read.
        keys: The issuer's keys.
    """

    def __init__(self, settings: OidcSettings, keys: SigningKeys) -> None:
        self._settings = settings
        self._keys = keys
        self._jwt = PyJWT(options={"enforce_minimum_key_length": True})

    async def caller(self, token: str) -> Caller | None:
        """Return the caller with a token, or None if the token is not valid.

        Raises:
            IssuerUnavailable: The key of the token is unknown, and the issuer does not answer.
        """
        if token.count(".") != _PARTS - 1:
            return None
        try:
            head = jwt.get_unverified_header(token)
            key_id, algorithm = head.get("kid"), head.get("alg")
            if not isinstance(key_id, str) or not isinstance(algorithm, str):
                return None
            key = await self._keys.find(key_id, algorithm)
            if key is None:
                return None
            claims = self._jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except PyJWTError:
            return None
        return Caller(
            kind=CallerKind.OIDC,
            name=str(claims["sub"]),
            grants=tuple(self._granted(claims)),
            expires_at_s=float(claims["exp"]) + LEEWAY_S,
        )

    def _granted(self, claims: Mapping[str, Any]) -> Iterable[Grant]:
        for value in _values(claims, self._settings.claim):
            yield from self._settings.grants.get(value, ())


@contextlib.asynccontextmanager
async def open_oidc(settings: OidcSettings) -> AsyncIterator[Oidc]:
    """Read tokens of an issuer until the context ends. It is asked for its keys when needed."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=open_connector(), timeout=timeout) as session:

        async def fetch(url: str) -> bytes:
            if not _is_url(url):
                raise ValueError(f"{url!r} is no https:// URL")
            # A redirect could lead to a place that is not the issuer's.
            async with session.get(URL(url), allow_redirects=False) as response:
                if response.status != 200:
                    raise ValueError(f"{url} answered {response.status}")
                content = await response.content.read(MAX_BYTES + 1)
                while len(content) <= MAX_BYTES and (more := await response.content.readany()):
                    content += more
            if len(content) > MAX_BYTES:
                raise ValueError(f"{url} has more than {MAX_BYTES} bytes")
            return content

        keys = SigningKeys(settings.issuer, fetch)
        try:
            yield Oidc(settings, keys)
        finally:
            await keys.close()


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or is_local)


def _grants_by_value(roles: str) -> dict[str, tuple[Grant, ...]]:
    """Return the grants of each value of the claim, from ``VALUE=ROLE; VALUE=ROLE:APPS``."""
    found: dict[str, tuple[Grant, ...]] = {}
    for entry in filter(None, (part.strip() for part in roles.split(";"))):
        value, equals, text = entry.rpartition("=")
        if not equals or not value.strip():
            raise InvalidRequest(
                f"FOX_OIDC_ROLES: {entry!r} is not valid: expected VALUE=ROLE[:APPS[:…]]"
            )
        name = value.strip()
        found[name] = (*found.get(name, ()), parse_grant(text.strip()))
    return found


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    found: Any = claims
    for name in (path,) if path in claims else path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str):
        return [found]
    return [value for value in found if isinstance(value, str)] if isinstance(found, list) else []
