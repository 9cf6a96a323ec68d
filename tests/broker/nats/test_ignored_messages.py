from __future__ import annotations

import asyncio

import pytest

from broker.nats.ignored_messages import IgnoredMessages
from kubefox.errors import InvalidEvent


async def test_many_messages_are_one_line_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    malformed = IgnoredMessages("malformed")

    for number in range(284):
        malformed.note("broker.view", InvalidEvent(f"number {number}\n"))
    while not caplog.messages:
        await asyncio.sleep(0.01)

    assert malformed.count == 284
    assert caplog.messages == [
        r"284 malformed messages were ignored, the last one on broker.view: number 283\n"
    ]
    assert caplog.records[0].exc_info is None


async def test_the_last_line_is_written_at_the_end_and_only_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    malformed = IgnoredMessages("malformed")
    malformed.note("evt.x", InvalidEvent("x" * 9_999))

    malformed.log()
    malformed.log()

    (line,) = caplog.messages
    assert line.startswith("1 malformed message was ignored, the last one on evt.x: xxx")
    assert len(line) < 400
