"""A selector names one deployment, or says which it could be."""

from __future__ import annotations

import pytest

from broker.control.selection import MAX_LISTED, select_deployment
from model.deployment import Deployment, SourceRef
from model.errors import InvalidRequest
from model.records import Change, deployment_key
from routing.snapshot import Snapshot


def of_branch(count: int) -> Snapshot:
    source = SourceRef(branch="main")
    records = [
        Deployment(name=f"d{at:02}", app="shop", components={}, source=source)
        for at in range(count)
    ]
    return Snapshot.empty().apply(
        Change(key=deployment_key(each.name), revision=at, record=each)
        for at, each in enumerate(records, start=1)
    )


def test_of_many_that_answer_only_the_first_are_listed() -> None:
    with pytest.raises(InvalidRequest) as caught:
        select_deployment(of_branch(MAX_LISTED + 5), "main")

    listed = ", ".join(f"d{at:02} (app shop)" for at in range(MAX_LISTED))
    assert caught.value.detail == f"'main' can mean {listed} and 5 more: give the name of one"


def test_a_name_wins_over_all_else() -> None:
    assert select_deployment(of_branch(3), "d01").name == "d01"
