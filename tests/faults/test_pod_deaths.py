"""A pod is killed, or pods are added and removed, under load: what fails, and what does not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from examples.demo.platform import Platform
from tests.faults import two_component_app
from tests.faults.new_version import change_hashes
from tests.faults.two_component_app import API_PATH, WEB_PATH

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

RATE_PER_S = 40
LOAD_S = 3.0
# Each has one request in flight at most; far fewer than all requests.
CONNECTIONS = 50
# A slow machine takes longer than the default until a pod is ready again.
HOLD_S = "25"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("deaths")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOX_HOLD_S", HOLD_S)
        async with Platform(folder / "data") as platform:
            await two_component_app.deploy(platform, folder / "app")
            yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def platform(shared: Platform) -> AsyncIterator[Platform]:
    """The shared platform, with one new pod of each component."""
    app = shared.data_dir.with_name("app")
    change_hashes(app)
    await shared.fox("deploy", "app", "--dirty", "--wait", cwd=app)
    await shared.wait_ready("api", 1)
    yield shared
    await shared.fox("scale", "api", "--reset")


def job(platform: Platform, *paths: str, body_bytes: int = 0) -> Job:
    """Return a load of GETs, or of POSTs if they have a body."""
    return Job(
        port=urlsplit(platform.http_url).port or 0,
        paths=paths,
        connections=CONNECTIONS,
        duration_s=LOAD_S,
        rate_per_s=RATE_PER_S,
        body_bytes=body_bytes,
        grace_s=30,
    )


async def outcome_of_a_kill(
    generator: Generator, platform: Platform, *paths: str, body_bytes: int = 0
) -> Outcome:
    """Kill a pod of the component ``api`` in the middle of a load, and return its outcome."""
    pod = await platform.pod_of("api", "")
    load = asyncio.create_task(generator.run(job(platform, *paths, body_bytes=body_bytes)))
    await asyncio.sleep(LOAD_S / 2)
    os.kill(pod["pid"], signal.SIGKILL)
    return await load


async def test_no_get_fails_when_the_only_pod_is_killed(
    generator: Generator, platform: Platform
) -> None:
    outcome = await outcome_of_a_kill(generator, platform, API_PATH, WEB_PATH)

    assert outcome.failures == {}
    assert outcome.answers == RATE_PER_S * LOAD_S


async def test_only_the_posts_at_the_killed_pod_fail(
    generator: Generator, platform: Platform
) -> None:
    outcome = await outcome_of_a_kill(generator, platform, API_PATH, body_bytes=1)

    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS


async def test_no_get_fails_when_one_of_two_pods_is_killed(
    generator: Generator, platform: Platform
) -> None:
    await platform.fox("scale", "api", "--min", "2")
    await platform.wait_ready("api", 2)

    outcome = await outcome_of_a_kill(generator, platform, WEB_PATH)

    assert outcome.failures == {}
    assert outcome.answers == RATE_PER_S * LOAD_S


async def test_posts_at_the_other_pod_do_not_fail(generator: Generator, platform: Platform) -> None:
    await platform.fox("scale", "api", "--min", "2")
    await platform.wait_ready("api", 2)

    outcome = await outcome_of_a_kill(generator, platform, API_PATH, body_bytes=1)

    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS


async def test_no_request_fails_while_pods_are_added_and_removed(
    generator: Generator, platform: Platform
) -> None:
    load = asyncio.create_task(generator.run(job(platform, WEB_PATH, body_bytes=1)))
    await platform.fox("scale", "api", "--min", "3")
    await platform.wait_ready("api", 3)
    await platform.fox("scale", "api", "--reset")
    await platform.wait_ready("api", 1)

    outcome = await load

    assert outcome.failures == {}
    assert outcome.answers == RATE_PER_S * LOAD_S
