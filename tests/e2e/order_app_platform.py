"""The platform of the end-to-end tests: the Order App with its three deployments."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.demo.page import Browser, Page
from examples.demo.platform import Platform, wait_for

DEPLOYMENTS = ("order-app-v1", "order-app-v2", "order-app-v3")
SOON_S = 120

_VIRTUAL_ENVIRONMENT = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata:
  name: {name}
spec:
  environment: development
data:
  vars:
    subPath: {name}
    greeting: Hello {name}
"""
_numbers = itertools.count(1)


@dataclass(kw_only=True)
class OrderAppPlatform:
    """A running platform with the Order App.

    Attributes:
        platform: The platform.
        browser: A browser for it.
        repository: The Git repository of the Order App.
        pods_after: The pods after the deployment of each version.
        output_of: The output of the deployment of each version.
    """

    platform: Platform
    browser: Browser
    repository: Path
    pods_after: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    output_of: dict[str, str] = field(default_factory=dict)

    async def fox(self, *arguments: str | Path) -> str:
        """Run a ``fox`` command in the repository and return its output."""
        return await self.platform.fox(*arguments, cwd=self.repository)

    async def deploy(self, version: str) -> str:
        """Deploy a version as the story does, and return the output."""
        name = f"order-app-{version}"
        return await self.fox("deploy", name, "--ref", version, "--version", version, "--wait")

    async def release(self, version: str, environment: str) -> None:
        """Release a version, and wait until it serves plain URLs."""
        await self.fox("release", version, "--virtual-env", environment, "--wait")

    async def new_environment(self) -> str:
        """Create a virtual environment without a release; its name is its subPath."""
        name = f"own-{next(_numbers)}"
        file = self.platform.data_dir.parent / f"{name}.yaml"
        file.write_text(_VIRTUAL_ENVIRONMENT.format(name=name))
        await self.fox("apply", "-f", file)
        return name

    async def wait_status(self, page: Page, status: str) -> None:
        """Wait until the order on a page has a status."""

        async def reached() -> bool:
            return (await self.browser.visit(page.url)).order_status == status

        await wait_for(reached, SOON_S)


def is_within(page: Page, versions: dict[str, dict[str, str]], deployment: str) -> bool:
    """Return whether a page and all components that served it belong to ``deployment``."""
    return (
        page.status == 200
        and page.deployment == deployment
        and bool(page.parts)
        and page.parts.items() <= versions[deployment].items()
    )
