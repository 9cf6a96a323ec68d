"""Visitors who never stop, to see what a change does to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp

from examples.demo.page import Browser, Page

VISITORS = 8


class Load:
    """What the visitors have seen so far.

    Attributes:
        pages: Every page, in the order of their arrival.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.pages: list[Page] = []
        self._arrived = asyncio.Event()

    @property
    def failed(self) -> list[Page]:
        """Pages that are no answer of the app."""
        return [page for page in self.pages if page.status != HTTPStatus.OK]

    def deployments(self) -> Counter[str]:
        """Return how many pages each deployment served."""
        return Counter(page.deployment for page in self.pages)

    async def wait_more(self, count: int) -> None:
        """Wait until ``count`` more pages have arrived."""
        goal = len(self.pages) + count
        while len(self.pages) < goal:
            self._arrived.clear()
            await self._arrived.wait()

    async def visit(self, browser: Browser, environment: str) -> None:
        """Visit the plain URL again and again; a broken connection counts as a page."""
        while True:
            try:
                page = await browser.get(environment)
            except aiohttp.ClientError as error:
                page = Page(status=0, url=browser.url(environment), text=str(error))
            self.pages.append(page)
            self._arrived.set()


@contextlib.asynccontextmanager
async def visitors(browser: Browser, environment: str) -> AsyncIterator[Load]:
    """Keep visitors on the plain URL of ``environment`` while the context lasts."""
    load = Load()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.visit(browser, environment)) for _ in range(VISITORS)]
        yield load
        for task in tasks:
            task.cancel()
