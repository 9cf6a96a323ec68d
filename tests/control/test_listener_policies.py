"""The status and a new share follow the policies of the HTTP listeners."""

from __future__ import annotations

import pytest

from control.listener_policies import policies_text, share_warnings
from kubefox.selection import ListenerPolicy

RELEASED, DIRECT = ListenerPolicy.RELEASED, ListenerPolicy.OPEN_IF_DIRECT
SIGNED, OPEN = ListenerPolicy.SIGNED, ListenerPolicy.OPEN


@pytest.mark.parametrize(
    ("policies", "text"),
    [
        ([], "no HTTP process answers"),
        ([RELEASED, RELEASED], "released"),
        ([DIRECT], "open for direct requests, released for others"),
        ([SIGNED, RELEASED, SIGNED], "released in 1 of 3; signed in 2 of 3"),
    ],
)
def test_the_policies_are_told(policies: list[ListenerPolicy], text: str) -> None:
    assert policies_text(policies) == text


@pytest.mark.parametrize(
    ("policies", "begin"),
    [
        ([], "no HTTP process has answered"),
        ([RELEASED], "the link gets 404 from the HTTP adapter"),
        ([SIGNED, RELEASED], "the link gets 404 from 1 of 2 HTTP processes"),
        ([DIRECT], "the link works on this machine only"),
    ],
)
def test_a_share_that_may_not_work_has_a_warning(
    policies: list[ListenerPolicy], begin: str
) -> None:
    [warning] = share_warnings(policies)

    assert warning.startswith(begin)


@pytest.mark.parametrize("policies", [[SIGNED], [OPEN, SIGNED]])
def test_a_share_that_every_listener_accepts_has_no_warning(
    policies: list[ListenerPolicy],
) -> None:
    assert list(share_warnings(policies)) == []
