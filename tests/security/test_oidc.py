"""Tokens of an OIDC issuer: valid ones get the roles of their claims, forged ones get nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from control.access import signing_keys
from control.access.caller import CallerKind
from control.access.oidc import Oidc, oidc_settings, open_oidc
from examples.demo.platform import Platform
from kubefox.errors import InvalidRequest, IssuerUnavailable
from tests.support.oidc_issuer import AUDIENCE, PRIVATE, Issuer, public_key, run_issuer

ROLES = "team=deploy:shop:dev-*; team=view; admins=admin"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with run_issuer() as issuer:
        yield issuer


def settings(issuer: Issuer, claim: str = "groups") -> Any:
    return oidc_settings(issuer.url, AUDIENCE, claim, ROLES)


@pytest.fixture
async def oidc(issuer: Issuer) -> AsyncIterator[Oidc]:
    async with open_oidc(settings(issuer)) as oidc:
        yield oidc


@pytest.mark.parametrize("key_id", PRIVATE)
async def test_a_valid_token_has_the_roles_of_its_groups(
    oidc: Oidc, issuer: Issuer, key_id: str
) -> None:
    caller = await oidc.caller(issuer.token(key_id, groups=["team", "others"]))

    assert caller is not None
    assert (caller.kind, caller.name) == (CallerKind.OIDC, "ada")
    assert [*map(str, caller.grants)] == ["deploy:shop:dev-*", "view"]


async def test_a_user_of_other_groups_has_no_role(oidc: Oidc, issuer: Issuer) -> None:
    for groups in (["others"], [], None, 7, {"team": True}, "admin"):
        caller = await oidc.caller(issuer.token(groups=groups))

        assert caller is not None
        assert caller.grants == ()


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["admins"]}}),
        ("https://example.com/groups", {"https://example.com/groups": "admins"}),
    ],
)
async def test_the_claim_may_be_inside_an_object_or_a_url(
    issuer: Issuer, claim: str, claims: dict[str, Any]
) -> None:
    async with open_oidc(settings(issuer, claim)) as oidc:
        caller = await oidc.caller(issuer.token(**claims))

    assert caller is not None
    assert [*map(str, caller.grants)] == ["admin"]


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"exp": "soon"},
    ],
    ids=str,
)
async def test_a_token_with_other_claims_is_refused(
    oidc: Oidc, issuer: Issuer, changes: dict[str, Any]
) -> None:
    assert await oidc.caller(issuer.token(**changes)) is None


@pytest.mark.parametrize(("claim", "from_now_s"), [("exp", -120), ("nbf", 3_600)])
async def test_a_token_outside_its_time_is_refused(
    oidc: Oidc, issuer: Issuer, claim: str, from_now_s: int
) -> None:
    claims: dict[str, Any] = {claim: int(time.time()) + from_now_s}

    assert await oidc.caller(issuer.token(**claims)) is None


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def signed_by_hmac(issuer: Issuer, head: dict[str, Any], secret: bytes) -> str:
    text = f"{part(head)}.{part(issuer.claims(groups=['admins']))}"
    mac = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


async def test_a_token_without_a_signature_is_refused(oidc: Oidc, issuer: Issuer) -> None:
    claims = part(issuer.claims(groups=["admins"]))
    for algorithm in ("none", "None", "NONE", ""):
        for tail in ("", "AAAA"):
            head = part({"alg": algorithm, "kid": "rsa-1"})

            assert await oidc.caller(f"{head}.{claims}.{tail}") is None


async def test_a_public_key_is_no_secret_of_an_hmac(oidc: Oidc, issuer: Issuer) -> None:
    public = PRIVATE["rsa-1"][0].public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public_key("rsa-1")).encode(),
    ):
        token = signed_by_hmac(issuer, {"alg": "HS256", "kid": "rsa-1", "typ": "JWT"}, secret)

        assert await oidc.caller(token) is None


async def test_a_key_of_another_is_refused(oidc: Oidc, issuer: Issuer) -> None:
    foreign = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    jwk = {
        "jwk": public_key("rsa-1"),
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1",
    }
    for headers in ({"kid": "rsa-1"}, {"kid": "rsa-1", **jwk}, {"kid": "mine", **jwk}, {}):
        token = jwt.encode(issuer.claims(), foreign, "RS256", headers=headers)

        assert await oidc.caller(token) is None


async def test_a_key_is_used_with_its_own_algorithms_only(oidc: Oidc, issuer: Issuer) -> None:
    token = issuer.token("ec-1")
    head, claims, signature = token.split(".")
    changed = part({"alg": "RS256", "kid": "ec-1", "typ": "JWT"})

    assert head != changed
    assert await oidc.caller(f"{changed}.{claims}.{signature}") is None


@pytest.mark.parametrize(
    "text",
    ["..", "a.b.c", "a.b", "....", "\u00e9.\u00e9.\u00e9", f"{part([])}.{part({})}.x", "x" * 9_000],
)
async def test_garbage_is_refused(oidc: Oidc, text: str) -> None:
    assert await oidc.caller(text) is None


async def test_a_changed_token_is_refused(oidc: Oidc, issuer: Issuer) -> None:
    head, _, signature = issuer.token().split(".")

    assert await oidc.caller(f"{head}.{part(issuer.claims(groups=['admins']))}.{signature}") is None


async def test_new_keys_are_fetched_and_removed_ones_are_refused(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "PAUSE_S", 0)
    await asyncio.to_thread(issuer.publish, "rsa-1")
    async with open_oidc(settings(issuer)) as oidc:
        before = await oidc.caller(issuer.token("rsa-1"))
        await asyncio.to_thread(issuer.publish, "ec-1")
        rotated = await oidc.caller(issuer.token("ec-1"))
        removed = await oidc.caller(issuer.token("rsa-1"))

    assert before is not None
    assert rotated is not None
    assert removed is None


async def test_invented_key_ids_do_not_reach_the_issuer(oidc: Oidc, issuer: Issuer) -> None:
    await oidc.caller(issuer.token())
    before = await asyncio.to_thread(issuer.requests)
    private, algorithm = PRIVATE["rsa-1"]
    tokens = [
        jwt.encode(issuer.claims(), private, algorithm, headers={"kid": f"invented-{number}"})
        for number in range(50)
    ]

    callers = await asyncio.gather(*map(oidc.caller, tokens))

    assert set(callers) == {None}
    assert await asyncio.to_thread(issuer.requests) == before
    assert await oidc.caller(issuer.token()) is not None


async def test_known_keys_are_used_while_the_issuer_is_away(oidc: Oidc, issuer: Issuer) -> None:
    await oidc.caller(issuer.token("rsa-1"))

    await asyncio.to_thread(issuer.stop)

    assert await oidc.caller(issuer.token("rsa-1")) is not None
    assert await oidc.caller(issuer.token("ec-1")) is not None


async def test_without_keys_an_issuer_that_is_away_is_named(issuer: Issuer) -> None:
    await asyncio.to_thread(issuer.stop)
    async with open_oidc(settings(issuer)) as oidc:
        for _ in range(2):
            with pytest.raises(IssuerUnavailable, match=f"{issuer.url} does not answer"):
                await oidc.caller(issuer.token())


@pytest.mark.parametrize(
    ("issuer_url", "audience", "roles"),
    [
        ("https://id.example", "", ""),
        ("http://id.example", "kubefox", ""),
        ("ftp://id.example", "kubefox", ""),
        ("https://[", "kubefox", ""),
        ("https://id.example", "kubefox", "team"),
        ("https://id.example", "kubefox", "=view"),
        ("https://id.example", "kubefox", "team=owner"),
    ],
)
def test_settings_that_are_not_valid_are_refused(
    issuer_url: str, audience: str, roles: str
) -> None:
    with pytest.raises(InvalidRequest):
        oidc_settings(issuer_url, audience, "groups", roles)


async def test_a_platform_with_an_issuer_takes_its_tokens(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOX_OIDC_ISSUER", issuer.url)
    monkeypatch.setenv("FOX_OIDC_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("FOX_OIDC_ROLES", ROLES)

    async with Platform(tmp_path / "data") as platform, aiohttp.ClientSession() as session:

        async def status_of(method: str, path: str, token: str) -> int:
            headers = {"authorization": f"Bearer {token}"}
            url = platform.control_url + path
            async with session.request(method, url, headers=headers, json={}) as answer:
                return answer.status

        statuses = [
            await status_of("GET", "/v1/deployments", issuer.token()),
            await status_of("POST", "/v1/prune", issuer.token()),
            await status_of("POST", "/v1/prune", issuer.token(groups=["admins"])),
            await status_of("GET", "/v1/deployments", issuer.token(aud="another")),
        ]
        [record] = [
            record
            for record in await platform.get("audit-records")
            if record["decision"] == "allowed"
        ]

    assert statuses == [200, 403, 200, 401]
    assert (record["kind"], record["caller"]) == ("oidc", "ada")
