"""The memory of whole bodies: a limit for each, and one for all together."""

from __future__ import annotations

import pytest

from broker.streams.bodies import BodyMemory
from kubefox.errors import BodyTooLarge, Overloaded


def test_a_body_over_its_limit_is_too_large() -> None:
    memory = BodyMemory(limit_bytes=10, memory_bytes=100)

    with memory.buffer() as body:
        body.add(b"x" * 10)
        with pytest.raises(BodyTooLarge, match="limit of 10 bytes"):
            body.add(b"y")

    assert memory.share.taken == 0


def test_bodies_that_fill_the_memory_together_overload_the_process() -> None:
    memory = BodyMemory(limit_bytes=10, memory_bytes=30)

    with memory.buffer() as first, memory.buffer() as second:
        first.add(b"x" * 10)
        second.add(b"x" * 5)
        with pytest.raises(Overloaded):
            second.add(b"y")
        assert memory.share.taken == 15

    assert memory.share.taken == 0


def test_bodies_of_one_lane_leave_memory_for_those_of_another() -> None:
    memory = BodyMemory(limit_bytes=10, memory_bytes=30)

    with memory.buffer("flood") as first, memory.buffer("flood") as second:
        first.add(b"x" * 10)
        second.add(b"x" * 5)
        with memory.buffer("victim") as body:
            body.add(b"y" * 7)

            assert memory.share.of("victim") == 7


def test_a_body_frees_its_memory_when_its_context_ends() -> None:
    memory = BodyMemory(limit_bytes=10, memory_bytes=10)

    with memory.buffer() as body:
        body.add(b"x" * 10)

    assert memory.share.taken == 0
    assert not body.data
