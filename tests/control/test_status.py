"""The status of the platform is that of its checks, whatever becomes of one of them."""

from __future__ import annotations

import asyncio

from control.status import platform_status
from kubefox.errors import NatsUnavailable
from kubefox.status import Check, CheckState


async def well() -> Check:
    return Check(name="well", state=CheckState.OK)


async def off() -> Check:
    return Check(name="off", state=CheckState.OFF)


async def hanging() -> Check:
    await asyncio.Event().wait()
    raise AssertionError


async def refused() -> Check:
    raise NatsUnavailable("NATS does not answer")


async def broken() -> Check:
    raise KeyError("x")


async def test_what_is_off_is_not_degraded() -> None:
    status = await platform_status("1", {"well": well, "off": off})

    assert status.state is CheckState.OK
    assert [check.name for check in status.checks] == ["well", "off"]


async def test_a_check_that_fails_is_degraded_and_keeps_no_other_from_being_shown() -> None:
    checks = {"well": well, "hanging": hanging, "refused": refused, "broken": broken}

    status = await platform_status("1", checks, check_s=0.05)

    assert status.state is CheckState.DEGRADED
    assert [(check.name, check.detail) for check in status.checks] == [
        ("well", ""),
        ("hanging", "no answer within 0.05 s"),
        ("refused", "NATS does not answer"),
        ("broken", "the check failed (KeyError): see the log of the control process"),
    ]
