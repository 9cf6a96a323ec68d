"""A selector names one deployment, or says which it could be."""

from __future__ import annotations

import pytest

from control.deployment_selection import MAX_LISTED, select_deployment
from kubefox.deployment import Deployment, SourceRef
from kubefox.errors import InvalidRequest
from kubefox.records import Change, deployment_key
from routing.snapshot.snapshot import Snapshot


def of_branch(count: int) -> Snapshot:
    source = SourceRef(branch="main")
    records = [
        Deployment(name=f"d{at:02}", app="shop", components={}, source=source)
        for at in range(count)
    ]
    return Snapshot.empty().apply(
        Change(key=deployment_key(record.name), revision=revision, record=record)
        for revision, record in enumerate(records, start=1)
    )


def test_an_ambiguous_selector_lists_the_first_deployments() -> None:
    with pytest.raises(InvalidRequest) as caught:
        select_deployment(of_branch(MAX_LISTED + 5), "main")

    listed = ", ".join(f"d{at:02} (app shop)" for at in range(MAX_LISTED))
    assert caught.value.detail == (
        f"'main' matches several deployments: use the name of one: {listed} and 5 more"
    )


def test_a_name_wins_over_a_branch() -> None:
    assert select_deployment(of_branch(3), "d01").name == "d01"
