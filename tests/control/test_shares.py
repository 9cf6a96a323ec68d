"""Shares are made, revoked, and removed when they have ended."""

from __future__ import annotations

import msgspec
import pytest

from control.shares import Shares
from kubefox import share
from kubefox.environment import VirtualEnvironment
from kubefox.errors import (
    Conflict,
    DeploymentNotFound,
    EnvironmentNotFound,
    NotFound,
    ProblemsFound,
)
from kubefox.records import share_key
from kubefox.selection import Selection
from kubefox.share import NewShare, Share, verified
from tests.support.control_plane import SHARE_KEY, Plane, component

UI = component("order-ui")
NEW = NewShare(deployment="v2", virtual_environment="qa", ttl_s=60)


@pytest.fixture
async def shares(plane: Plane) -> Shares:
    await plane.environments("qa")
    await plane.deploy("v2", UI)
    return plane.control.shares


async def test_a_share_is_a_record_and_a_token_that_says_the_same(
    plane: Plane, shares: Shares
) -> None:
    made = await shares.create(msgspec.structs.replace(NEW, host="shop.example"))

    claims = verified(made.token, [SHARE_KEY])
    assert claims.matches(shares.get(made.share.name))
    assert (claims.deployment, claims.virtual_environment) == ("v2", "qa")
    assert (claims.host, claims.expires_at_s) == ("shop.example", made.share.created_at_s + 60)
    stored = await plane.store.get(share_key(made.share.name))
    assert stored is not None
    assert isinstance(stored[0], Share)
    assert made.token not in str(stored[0])


async def test_a_revoked_share_is_gone(shares: Shares) -> None:
    made = await shares.create(NEW)

    await shares.revoke(made.share.name)

    with pytest.raises(NotFound):
        shares.get(made.share.name)
    with pytest.raises(NotFound):
        await shares.revoke(made.share.name)


async def test_names_that_do_not_exist_cannot_be_shared(shares: Shares) -> None:
    with pytest.raises(DeploymentNotFound, match="v9"):
        await shares.create(msgspec.structs.replace(NEW, deployment="v9"))
    with pytest.raises(EnvironmentNotFound, match="live"):
        await shares.create(msgspec.structs.replace(NEW, virtual_environment="live"))


@pytest.mark.parametrize("selection", [None, Selection.RELEASED])
async def test_nothing_is_shared_where_only_the_released_can_be_selected(
    plane: Plane, shares: Shares, selection: Selection | None
) -> None:
    record = plane.store.snapshot.virtual_environments["qa"]
    strict = msgspec.structs.replace(record, production=selection is None, selection=selection)
    assert isinstance(strict, VirtualEnvironment)
    await plane.control.environments.put(strict)

    with pytest.raises(ProblemsFound, match="v2 cannot be shared"):
        await shares.create(NEW)


async def test_the_number_of_shares_is_limited(
    shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.shares.MAX_SHARES", 1)
    await shares.create(NEW)

    with pytest.raises(Conflict, match="revoke"):
        await shares.create(NEW)


async def test_shares_that_have_ended_are_removed(
    plane: Plane, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await shares.create(msgspec.structs.replace(NEW, ttl_s=share.MAX_TTL_S))
    ended = await shares.create(NEW)
    monkeypatch.setattr(shares, "_now", lambda: ended.share.expires_at_s + 0.0)

    assert await shares.remove_ended() == 1
    assert set(plane.store.snapshot.records.shares) == {kept.share.name}


async def test_shares_of_a_deployment_that_is_gone_are_removed(
    plane: Plane, shares: Shares
) -> None:
    await shares.create(NEW)
    await plane.control.deployments.undeploy("v2")

    assert await shares.remove_ended() == 1
