"""Grants: a role for some apps in some virtual environments."""

from __future__ import annotations

import pytest

from kubefox.errors import InvalidRequest
from kubefox.grants import EVERYTHING, Role, Target, allows, parse_grant


@pytest.mark.parametrize(
    "text", ["view", "deploy:shop", "release:shop,cart:dev-*", "admin:*:dev,dev-*"]
)
def test_a_grant_is_shown_as_it_is_read(text: str) -> None:
    assert str(parse_grant(text)) == text


@pytest.mark.parametrize(
    "text", ["", "owner", "view:", "view:shop:", "view:Shop", "view:a:b:c", "view:[a-z]", "view:?"]
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_grant(text)


@pytest.mark.parametrize(
    ("grant", "role", "target", "is_allowed"),
    [
        ("view", Role.VIEW, EVERYTHING, True),
        ("view", Role.DEPLOY, Target("shop"), False),
        ("deploy", Role.VIEW, EVERYTHING, True),
        ("deploy", Role.RELEASE, EVERYTHING, False),
        ("release", Role.DEPLOY, EVERYTHING, False),
        ("admin", Role.RELEASE, EVERYTHING, True),
        ("deploy:shop", Role.DEPLOY, Target("shop", "prod"), True),
        ("deploy:shop", Role.DEPLOY, Target("shop-2", "prod"), False),
        ("deploy:shop", Role.DEPLOY, Target("*", "prod"), False),
        ("deploy:shop", Role.DEPLOY, Target("", "prod"), True),
        ("deploy:shop:dev-*", Role.DEPLOY, Target("shop", "dev-a"), True),
        ("deploy:shop:dev-*", Role.DEPLOY, Target("shop", "dev"), False),
        ("deploy:shop:dev-*", Role.DEPLOY, Target("shop", "my-dev-a"), False),
        ("deploy:shop:dev-*", Role.DEPLOY, Target("shop", "*"), False),
        ("deploy:shop:dev-*", Role.DEPLOY, Target("shop"), True),
        ("deploy:s*p", Role.DEPLOY, Target("shop"), True),
    ],
)
def test_a_grant_allows_its_role_for_what_it_covers(
    grant: str, role: Role, target: Target, is_allowed: bool
) -> None:
    assert allows([parse_grant(grant)], role, target) is is_allowed


def test_no_two_grants_make_one_that_none_of_them_is() -> None:
    grants = [parse_grant("deploy:shop:dev"), parse_grant("deploy:cart:prod")]

    assert not allows(grants, Role.DEPLOY, Target("shop", "prod"))
