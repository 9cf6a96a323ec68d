"""Hosts whose clocks are wrong: every request is answered, and the wrong clock is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.support.job import Job
from benchmarks.support.load import open_generator
from tests.faults.parts import open_parts
from tests.faults.two_component_app import WEB_PATH
from tests.support.nats import NatsServer
from tests.support.skewed_clock import SkewedClock

pytestmark = pytest.mark.faults

REQUESTS = 200
# Longer than the time to live of a request: none is counted as unanswered that is only late.
GRACE_S = 60


@pytest.mark.parametrize(("role", "ahead_s"), [("pods", 8), ("http", -31), ("control", 3600)])
async def test_no_request_fails_when_the_clock_of_a_host_is_wrong(
    own_secured_nats_server: NatsServer, tmp_path: Path, role: str, ahead_s: int
) -> None:
    clock = SkewedClock(tmp_path / "clock", ahead_s)
    environ = {role: {**clock.environ, "FOX_POD_ENV": ",".join(clock.environ)}}
    async with (
        open_parts(own_secured_nats_server, tmp_path, runners=1, environ=environ) as parts,
        open_generator() as generator,
    ):
        outcome = await generator.run(
            Job(
                port=parts.http.port,
                paths=(WEB_PATH,),
                connections=8,
                duration_s=GRACE_S,
                max_answers=REQUESTS,
                grace_s=GRACE_S,
            )
        )

    assert not outcome.failures
    assert outcome.succeeded >= REQUESTS
    name = "pods-1" if role == "pods" else role
    side = "ahead of" if ahead_s > 0 else "behind"
    assert f"{abs(ahead_s)}.0 s {side} that of NATS" in (tmp_path / f"{name}.log").read_text()


async def test_a_clock_that_is_set_while_requests_run_fails_none(
    own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    clock = SkewedClock(tmp_path / "clock", 0)
    own = {**clock.environ, "FOX_POD_ENV": ",".join(clock.environ)}
    environ = {"pods": own, "http": own}
    async with (
        open_parts(own_secured_nats_server, tmp_path, runners=1, environ=environ) as parts,
        open_generator() as generator,
    ):
        for ahead_s in (3_600, -3_600, 40):
            clock.set(ahead_s)
            outcome = await generator.run(
                Job(
                    port=parts.http.port,
                    paths=(WEB_PATH,),
                    connections=8,
                    duration_s=GRACE_S,
                    max_answers=REQUESTS // 4,
                    grace_s=GRACE_S,
                )
            )

            assert not outcome.failures
            assert outcome.succeeded >= REQUESTS // 4
