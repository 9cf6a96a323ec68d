"""Each start of a pod gets credentials of its own, which end when its version is gone."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Collection
from typing import Any

import pytest

from broker.nats.access import Access
from broker.nats.credentials.account_key import AccountKey
from broker.nats.credentials.login import Login
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from broker.runtime.background import run_in_background
from kubefox.component import Dependency
from pods.base import PodSpec
from pods.logins import PodLogins

ACCOUNT = KeyPair.generate(KeyKind.ACCOUNT)
API = PodSpec(
    id="api-1",
    app="shop",
    component="api",
    hash="a" * 32,
    dependencies=(Dependency(name="ledger"),),
)
WEB = PodSpec(id="web-1", app="shop", component="web", hash="b" * 32)


@pytest.fixture
def logins() -> PodLogins:
    return PodLogins(Access("nats://h:1", AccountKey(ACCOUNT.public, ACCOUNT)))


def claims(login: Login) -> dict[str, Any]:
    """Return the claims in the credentials of a login."""
    assert login.credentials is not None
    part = login.credentials.token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_each_start_has_a_process_of_its_own_with_the_edges_of_its_component(
    logins: PodLogins,
) -> None:
    first, second = logins.log_in(API), logins.log_in(API)

    assert first.process_id != second.process_id
    for login in (first, second):
        found = claims(login)
        assert found["name"] == login.process_id
        assert f"reply.{login.process_id}.>" in found["nats"]["sub"]["allow"]
        assert f"evt.shop.ledger.*.api@{API.hash}" in found["nats"]["pub"]["allow"]
        assert "exp" not in found


async def test_the_credentials_of_retired_versions_are_revoked_together(
    logins: PodLogins,
) -> None:
    revoked: asyncio.Queue[Collection[str]] = asyncio.Queue()
    users = {claims(logins.log_in(spec))["sub"] for spec in (API, API, WEB)}

    async with run_in_background(logins.revoke_retired(revoked.put, wait_s=0.05), "revoking"):
        for spec in (API, WEB, API):
            logins.retire(spec.version)
        found = await revoked.get()

    assert len(users) == 2
    assert set(found) == users
    assert claims(logins.log_in(API))["sub"] not in users


async def test_credentials_from_before_the_salt_of_another_runner_was_known_are_revoked_too(
    logins: PodLogins,
) -> None:
    revoked: asyncio.Queue[Collection[str]] = asyncio.Queue()
    early = claims(logins.log_in(API))["sub"]
    logins.use_salt(API.version, "that of the other runner")
    late = claims(logins.log_in(API))["sub"]

    async with run_in_background(logins.revoke_retired(revoked.put, wait_s=0.05), "revoking"):
        logins.retire(API.version)
        found = await revoked.get()

    assert early != late
    assert set(found) == {early, late}


async def test_a_failed_revocation_is_logged_and_the_next_one_is_tried(
    logins: PodLogins, caplog: pytest.LogCaptureFixture
) -> None:
    revoked: asyncio.Queue[Collection[str]] = asyncio.Queue()

    async def fail_once(users: Collection[str]) -> None:
        if "cannot be revoked" not in caplog.text:
            raise OSError(28, "No space left on device")
        await revoked.put(users)

    async with run_in_background(logins.revoke_retired(fail_once, wait_s=0), "revoking"):
        logins.log_in(API)
        logins.retire(API.version)
        while "cannot be revoked" not in caplog.text:
            await asyncio.sleep(0.01)
        logins.log_in(WEB)
        logins.retire(WEB.version)

        assert len(await revoked.get()) >= 1


def test_runners_with_one_account_and_one_salt_have_one_key_for_a_version() -> None:
    one, two, other = (
        PodLogins(Access(url, AccountKey(ACCOUNT.public, ACCOUNT)))
        for url in ("nats://h:1", "nats://h:1", "nats://h:2")
    )
    two.use_salt(API.version, one.salt(API.version))

    keys = [claims(logins.log_in(API))["sub"] for logins in (one, two, other)]

    assert keys[0] == keys[1] != keys[2]
    assert one.issuer == two.issuer != other.issuer


def test_the_key_of_another_account_is_another_one() -> None:
    other = KeyPair.generate(KeyKind.ACCOUNT)
    found = [
        Access("nats://h:1", AccountKey(key.public, key)).derive_user("salt").public
        for key in (ACCOUNT, other)
    ]

    assert found[0] != found[1]


def test_a_version_that_is_deployed_again_has_another_key(logins: PodLogins) -> None:
    before = claims(logins.log_in(API))["sub"]
    logins.retire(API.version)

    assert claims(logins.log_in(API))["sub"] != before
