"""Waiting for a state of the platform, while the control API may be away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fox.cli.support import polling
from fox.cli.support.polling import poll_until
from kubefox.errors import Unavailable


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "POLL_S", 0.001)


def away() -> tuple[str, str | None]:
    raise Unavailable("no platform answers")


def test_a_wait_goes_on_when_control_was_away() -> None:
    answers: Iterator[tuple[str, str | None] | None] = iter(
        [("starting", None), None, None, ("", "ready")]
    )

    assert poll_until(lambda: next(answers) or away(), "starting pods", 30) == "ready"


def test_a_wait_ends_with_the_error_of_a_control_that_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polling, "AWAY_S", 0.02)

    with pytest.raises(Unavailable, match="no platform answers"):
        poll_until(away, "starting pods", 30)
