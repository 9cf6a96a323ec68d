"""The platform that most end-to-end tests share; those that break one start their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from examples.demo.page import Browser
from examples.demo.platform import Platform
from examples.order_app import ENVIRONMENTS, VERSIONS, build
from tests.e2e.order_app_platform import OrderAppPlatform


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OrderAppPlatform]:
    """A platform with the story's environments and its three deployments, nothing released."""
    folder = tmp_path_factory.mktemp("world")
    build(folder / "order-app")
    platform = Platform(folder / "data")
    async with platform, Browser(platform.http_url) as browser:
        world = OrderAppPlatform(
            platform=platform, browser=browser, repository=folder / "order-app"
        )
        await world.fox("apply", "-f", ENVIRONMENTS)
        for version in VERSIONS:
            world.output_of[version] = await world.deploy(version)
            world.pods_after[version] = await world.platform.pods()
        yield world
    assert "forbidden message" not in platform.log.read_text()
