"""Where the story is set: a running platform, a repository, a browser, and what one does there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from examples.demo.fox import Platform, wait_for
from examples.demo.page import Browser
from examples.demo.telling import Teller

ORDER_S = 20


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What every chapter plays with.

    Attributes:
        tell: To the terminal.
        platform: Running.
        browser: Open.
        repository: The Order App's, with its three versions.
    """

    tell: Teller
    platform: Platform
    browser: Browser
    repository: Path

    async def fox(self, *arguments: str) -> None:
        """Run a ``fox`` command in the repository and show it with its output."""
        output = await self.platform.fox(*arguments, cwd=self.repository)
        self.tell.command(shlex.join(("fox", *arguments)), output)

    async def deploy(self, version: str) -> None:
        """Deploy a tag of the repository under the name the story gives it."""
        name = f"order-app-{version}"
        await self.fox("deploy", name, "--ref", version, "--version", version, "--wait")

    async def release(self, version: str, environment: str) -> None:
        """Release a version and wait until it serves plain URLs."""
        await self.fox("release", version, "--virtual-env", environment, "--wait")

    async def wait_delivered(self, url: str) -> None:
        """Wait until the order on a page is delivered.

        Raises:
            TimeoutError: It is not in time.
        """

        async def delivered() -> bool:
            return (await self.browser.visit(url)).order_status == "delivered"

        await wait_for(delivered, ORDER_S)
