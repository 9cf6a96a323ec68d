"""The nats-server of ``fox up`` is killed or stopped under load: what fails, and what does not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
import pytest_asyncio

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from examples.demo.platform import Platform, wait_for
from tests.faults import two_component_app
from tests.faults.two_component_app import WEB_PATH

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

RATE_PER_S = 40
LOAD_S = 2.0
SOON_S = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("embedded")
    async with Platform(folder / "data") as platform:
        await two_component_app.deploy(platform, folder / "app")
        yield platform


def nats_of(platform: Platform) -> psutil.Process:
    children = psutil.Process(platform.process.pid).children()
    (nats,) = (child for child in children if child.name() == "nats-server")
    return nats


async def load(generator: Generator, platform: Platform) -> Outcome:
    port = urlsplit(platform.http_url).port or 0
    return await generator.run(
        Job(
            port=port,
            paths=(WEB_PATH,),
            connections=50,
            duration_s=LOAD_S,
            rate_per_s=RATE_PER_S,
            body_bytes=1,
            grace_s=30,
        )
    )


async def is_served(platform: Platform) -> bool:
    async with aiohttp.request("POST", platform.http_url + WEB_PATH) as response:
        return response.status == HTTPStatus.OK


async def test_only_requests_while_nats_restarts_fail_when_it_is_killed(
    platform: Platform,
) -> None:
    async with open_generator() as generator:
        during = asyncio.create_task(load(generator, platform))
        await asyncio.sleep(LOAD_S / 4)
        os.kill(nats_of(platform).pid, signal.SIGKILL)
        hit = await during
        await wait_for(partial(is_served, platform), SOON_S)
        after = await load(generator, platform)

    assert platform.process.returncode is None
    assert hit.failures.keys() <= {"502", "503"}
    assert hit.answers == after.answers == RATE_PER_S * LOAD_S
    assert after.failures == {}


async def test_no_request_fails_when_nats_is_stopped_by_a_signal_and_goes_on(
    platform: Platform,
) -> None:
    nats = nats_of(platform)
    async with open_generator() as generator:
        during = asyncio.create_task(load(generator, platform))
        await asyncio.sleep(LOAD_S / 4)
        nats.suspend()
        await asyncio.sleep(LOAD_S / 4)
        nats.resume()
        outcome = await during

    assert outcome.failures == {}
    assert outcome.answers == RATE_PER_S * LOAD_S
