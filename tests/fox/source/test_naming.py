from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fox.source.naming import check_free, default_name
from kubefox.deployment import Deployment, SourceRef
from kubefox.errors import Conflict, InvalidRequest
from kubefox.names import check_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("source", "version", "expected"),
    [
        (SourceRef(commit=COMMIT, branch="main", tag="v1"), "2.0.1", "shop-2-0-1"),
        (SourceRef(commit=COMMIT, branch="fix/It", tag="v1"), None, "shop-fix-it"),
        (SourceRef(commit=COMMIT, tag="v1"), None, "shop-v1"),
        (SourceRef(commit=COMMIT), None, "shop-0123456"),
        (SourceRef(commit=COMMIT, branch="b" * 80), None, "shop-" + "b" * 58),
    ],
)
def test_the_default_name_is_version_branch_tag_or_commit(
    source: SourceRef, version: str | None, expected: str
) -> None:
    assert default_name("shop", source, version) == expected


@given(branch=st.text(min_size=1, max_size=90))
def test_every_default_name_is_a_valid_name(branch: str) -> None:
    try:
        name = default_name("shop", SourceRef(branch=branch))
    except InvalidRequest:
        assume(False)

    assert check_name(name, "deployment").startswith("shop-")


@pytest.mark.parametrize("branch", ["", "///", "ветка"])
def test_a_label_without_allowed_characters_is_refused(branch: str) -> None:
    with pytest.raises(InvalidRequest, match="give it a NAME"):
        default_name("shop", SourceRef(branch=branch))


def deployed(source: SourceRef, *, app: str = "shop") -> Deployment:
    return Deployment(name="shop-fix-a", app=app, components={}, source=source)


def test_two_branches_with_the_same_clean_name_collide() -> None:
    there = deployed(SourceRef(branch="fix/a"))

    with pytest.raises(Conflict, match="'fix-a' and 'fix/a'"):
        check_free("shop-fix-a", "shop", SourceRef(branch="fix-a"), None, there)


def test_a_branch_may_replace_its_own_deployment() -> None:
    there = deployed(SourceRef(branch="fix/a", commit=COMMIT))

    check_free("shop-fix-a", "shop", SourceRef(branch="fix/a"), None, there)


def test_a_deployment_with_an_explicit_name_may_be_replaced() -> None:
    there = deployed(SourceRef(branch="main"))

    check_free("shop-fix-a", "shop", SourceRef(branch="fix-a"), None, there)


def test_a_deployment_of_another_app_is_not_replaced() -> None:
    there = deployed(SourceRef(branch="a"), app="shop-fix")

    with pytest.raises(Conflict, match="is of app shop-fix, not shop"):
        check_free("shop-fix-a", "shop", SourceRef(branch="fix-a"), None, there)
