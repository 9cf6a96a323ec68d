"""The story of a preview: a colleague elsewhere sees an unreleased version by a link that ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from examples.demo.page import Page
from examples.demo.platform import Platform, wait_for
from examples.order_app import ENVIRONMENTS, build

SOON_S = 120
SHOP = "/dev/order-app"


class Visitor:
    """A browser of somebody who reaches the HTTP listener, and nothing else."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def visit(self, url: str) -> Page:
        async with self._session.get(url, headers={"accept": "text/html"}) as response:
            return await self._page(response)

    async def order(self, url: str) -> Page:
        form = {"customer": "Kim", "product": "mug", "quantity": "2"}
        async with self._session.post(url, data=form) as response:
            return await self._page(response)

    async def _page(self, response: aiohttp.ClientResponse) -> Page:
        return Page(status=response.status, url=str(response.url), text=await response.text())


@asynccontextmanager
async def a_visitor() -> AsyncIterator[Visitor]:
    # Browsers keep the cookies of IP addresses, too.
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Visitor(session)


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A platform whose listener is for others; v1 is released, and v3 is not."""
    monkeypatch.setenv("FOX_HTTP_HOST", "127.0.0.2")
    monkeypatch.setenv("FOX_HTTP_SELECTION", "signed")
    shop = tmp_path / "shop"
    build(shop)
    async with Platform(tmp_path / "data") as platform:
        await platform.fox("apply", "-f", shop / ENVIRONMENTS)
        for version in ("v1", "v3"):
            name = f"order-app-{version}"
            options = ("--ref", version, "--version", version, "--wait")
            await platform.fox("deploy", name, *options, cwd=shop)
        await platform.fox("release", "v1", "--virtual-env", "team-a", "--wait")
        yield platform


async def test_a_preview_is_shared_used_and_revoked(platform: Platform) -> None:
    shop = f"{platform.http_url}{SHOP}"
    explicit = f"{shop}?kf-dep=order-app-v3&kf-ve=team-a"

    async with a_visitor() as colleague, a_visitor() as stranger:
        assert (await colleague.visit(explicit)).status == 404

        url = await platform.fox("share", "order-app-v3", "-e", "team-a", "--path", SHOP)
        opened = await colleague.visit(url.strip())
        assert (opened.status, opened.deployment, opened.url) == (200, "order-app-v3", shop)

        ordered = await colleague.order(f"{shop}/orders")
        assert (ordered.status, ordered.deployment) == (200, "order-app-v3")
        assert (await colleague.visit(explicit)).deployment == "order-app-v3"
        assert (await colleague.visit(shop)).deployment == "order-app-v3"

        assert (await stranger.visit(shop)).deployment == "order-app-v1"
        assert (await stranger.visit(explicit)).status == 404

        (share,) = await platform.get("shares")
        await platform.fox("share", "--revoke", share["name"])

        async def is_over() -> bool:
            return (await colleague.visit(explicit)).status == 404

        await wait_for(is_over, SOON_S)
        # The answer has removed the cookie, unless the first one was for the explicit URL.
        await colleague.visit(shop)
        assert (await colleague.visit(shop)).deployment == "order-app-v1"
