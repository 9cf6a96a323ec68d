"""Load on the app: clients that send requests without pause, to see the effect of a change."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp

from examples.demo.page import Browser, Page

CLIENTS = 8


class Load:
    """The pages that the clients have received.

    Attributes:
        pages: Every page, in the order of arrival.
    """

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self._arrived = asyncio.Event()

    @property
    def failed(self) -> list[Page]:
        """Pages with a status other than 200."""
        return [page for page in self.pages if page.status != HTTPStatus.OK]

    def deployments(self) -> Counter[str]:
        """Return the number of pages that each deployment served."""
        return Counter(page.deployment for page in self.pages)

    async def wait_more(self, count: int) -> None:
        """Wait until ``count`` more pages have arrived."""
        goal = len(self.pages) + count
        while len(self.pages) < goal:
            self._arrived.clear()
            await self._arrived.wait()

    async def visit(self, browser: Browser, environment: str) -> None:
        """Request the plain URL until cancelled; a broken connection counts as a page."""
        while True:
            try:
                page = await browser.get(environment)
            except aiohttp.ClientError as error:
                page = Page(status=0, url=browser.url(environment), text=str(error))
            self.pages.append(page)
            self._arrived.set()


@contextlib.asynccontextmanager
async def visitors(browser: Browser, environment: str) -> AsyncIterator[Load]:
    """Request the plain URL of ``environment`` with several clients until the context ends."""
    load = Load()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.visit(browser, environment)) for _ in range(CLIENTS)]
        yield load
        for task in tasks:
            task.cancel()
