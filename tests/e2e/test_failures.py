"""Failures are reported at once, and calls that are not declared are refused."""

import asyncio
import os
import signal

import pytest

from examples.demo.page import Page
from examples.demo.platform import wait_for
from tests.e2e.order_app_platform import SOON_S, OrderAppPlatform

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Long before the deadline of a request.
AT_ONCE_S = 15


async def test_after_kill_9_requests_fail_at_once_until_the_pod_is_back(
    world: OrderAppPlatform,
) -> None:
    digest = (await world.platform.versions())["order-app-v3"]["review"]
    pod = await world.platform.pod_of("review", digest)
    pages: list[Page] = []

    os.kill(pod["pid"], signal.SIGKILL)
    async with asyncio.timeout(SOON_S):
        while not pages or pages[-1].status != 200:
            async with asyncio.timeout(AT_ONCE_S):
                pages.append(await world.browser.get("team-a", deployment="order-app-v3"))

    assert {page.status for page in pages} <= {200, 502, 503}

    async def is_counted() -> bool:
        again = await world.platform.pod_of("review", digest)
        is_next: bool = again["restarts"] == pod["restarts"] + 1 and again["pid"] != pod["pid"]
        return is_next

    await wait_for(is_counted, SOON_S)


async def test_the_other_versions_do_not_notice_that_a_pod_died(world: OrderAppPlatform) -> None:
    digest = (await world.platform.versions())["order-app-v3"]["review"]
    pod = await world.platform.pod_of("review", digest)

    os.kill(pod["pid"], signal.SIGKILL)
    pages = [await world.browser.get("team-a", deployment="order-app-v2") for _ in range(20)]

    assert {page.status for page in pages} == {200}


async def test_a_call_that_was_not_declared_is_refused(world: OrderAppPlatform) -> None:
    await world.fox("deploy", "snooping", "--ref", "snoop", "--wait")

    page = await world.browser.get("team-a", "/snoop", deployment="snooping")

    assert page.status == 403
    assert "not_declared" in page.text
    await world.fox("undeploy", "snooping")
