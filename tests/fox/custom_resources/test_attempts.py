"""Limits of how often something is done for one key."""

from __future__ import annotations

from fox.custom_resources.attempts import Attempts


def test_attempts_are_counted_for_each_key_within_the_time() -> None:
    now_s = 100.0
    attempts = Attempts(2, 10.0, lambda: now_s)

    first = [attempts.wait_s("a"), attempts.wait_s("a"), attempts.wait_s("b")]
    refused_s = attempts.wait_s("a")
    now_s = 111.0

    assert first == [0, 0, 0]
    assert refused_s == 10.0
    assert attempts.wait_s("a") == 0
