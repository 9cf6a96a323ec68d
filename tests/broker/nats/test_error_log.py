"""Equal errors of nats-py are logged once within a time."""

from __future__ import annotations

import pytest
from nats.errors import ConnectionClosedError, SlowConsumerError

from broker.nats.error_log import ErrorLog


@pytest.mark.parametrize(("repeat_s", "count"), [(3600, 1), (0, 2)])
async def test_an_equal_error_is_logged_again_only_after_the_repeat_time(
    caplog: pytest.LogCaptureFixture, repeat_s: float, count: int
) -> None:
    log = ErrorLog(repeat_s)

    await log.report(ConnectionRefusedError("refused"))
    await log.report(ConnectionRefusedError("refused"))

    assert caplog.text.count("refused") == count


async def test_different_errors_are_both_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = ErrorLog(repeat_s=3600)

    await log.report(ConnectionRefusedError("refused"))
    await log.report(ConnectionClosedError())

    assert len(caplog.records) == 2


async def test_lost_messages_are_an_error_with_their_subject(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ErrorLog().report(SlowConsumerError(subject="work", reply="", sid=1, sub=None))  # type: ignore[arg-type]

    (record,) = caplog.records
    assert (record.levelname, "on work were lost" in record.message) == ("ERROR", True)
