"""The context of the demo: a running platform, a repository, a browser, and common steps."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from examples.demo.narrator import Narrator
from examples.demo.page import Browser
from examples.demo.platform import Platform, wait_for

ORDER_S = 20


@dataclass(frozen=True, kw_only=True)
class DemoContext:
    """The objects that every chapter uses.

    Attributes:
        narrator: Prints the story.
        platform: A running platform.
        browser: An open browser.
        repository: The repository of the Order App, with its three versions.
    """

    narrator: Narrator
    platform: Platform
    browser: Browser
    repository: Path

    async def fox(self, *arguments: str) -> None:
        """Run a ``fox`` command in the repository, and print it with its output."""
        output = await self.platform.fox(*arguments, cwd=self.repository)
        self.narrator.command(shlex.join(("fox", *arguments)), output)

    async def deploy(self, version: str) -> None:
        """Deploy a tag of the repository as ``order-app-<version>``."""
        name = f"order-app-{version}"
        await self.fox("deploy", name, "--ref", version, "--version", version, "--wait")

    async def release(self, version: str, environment: str) -> None:
        """Release a version, and wait until plain URLs are routed to it."""
        await self.fox("release", version, "--virtual-env", environment, "--wait")

    async def wait_delivered(self, url: str) -> None:
        """Wait until the order on a page is delivered.

        Raises:
            TimeoutError: The order is not delivered in time.
        """

        async def is_delivered() -> bool:
            return (await self.browser.visit(url)).order_status == "delivered"

        await wait_for(is_delivered, ORDER_S)
