"""Pages of the Order App, and a browser that requests them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import Self
from urllib.parse import urlencode

import aiohttp

APP = "order-app"
# The values of subPath in environments.yaml; for other environments, the name is taken.
SUB_PATHS = {"team-a": "dev", "team-b": "qa"}

_PART = re.compile(r'data-source="([^"@]+)@([0-9a-f]+)"')
_ORDER = re.compile(r'<li id="order-(\d+)">')


@dataclass(frozen=True, kw_only=True)
class Page:
    """One response, with the facts that its HTML contains."""

    status: int
    url: str
    text: str

    @property
    def parts(self) -> dict[str, str]:
        """Short hash of each component that handled the request, by name."""
        return dict(_PART.findall(self.text))

    @property
    def deployment(self) -> str:
        """The deployment that served it."""
        return self._element("deployment")

    @property
    def environment(self) -> str:
        """The virtual environment that it was served in."""
        return self._element("environment")

    @property
    def chosen_by(self) -> str:
        """The selection of the deployment: ``explicit URL``, or the release."""
        return self._element("chosen-by")

    @property
    def orders(self) -> list[int]:
        """Numbers of the listed orders, newest first."""
        return [int(number) for number in _ORDER.findall(self.text)]

    @property
    def order_status(self) -> str:
        """Status of the order that it shows."""
        found = re.search(r'data-status="(\w+)"', self.text)
        return found[1] if found else ""

    def _element(self, name: str) -> str:
        found = re.search(rf'id="{name}">([^<]*)<', self.text)
        return unescape(found[1]) if found else ""


class Browser:
    """An HTTP client for the Order App.

    Args:
        base_url: URL of the HTTP adapter.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=60)
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._session.close()

    def url(self, environment: str, path: str = "", *, deployment: str = "") -> str:
        """Return a plain URL of ``environment``, or with ``deployment`` an explicit URL."""
        plain = f"{self._base_url}/{SUB_PATHS.get(environment, environment)}/{APP}{path}"
        if not deployment:
            return plain
        return f"{plain}?{urlencode({'kf-dep': deployment, 'kf-ve': environment})}"

    async def get(self, environment: str, path: str = "", *, deployment: str = "") -> Page:
        """Request a page."""
        return await self.visit(self.url(environment, path, deployment=deployment))

    async def visit(self, url: str) -> Page:
        """Request a page by its URL."""
        async with self._session.get(url) as response:
            return await _page(response)

    async def submit(
        self, environment: str, path: str, form: dict[str, str], *, deployment: str = ""
    ) -> Page:
        """Send a form, and follow its redirect."""
        url = self.url(environment, path, deployment=deployment)
        async with self._session.post(url, data=form) as response:
            return await _page(response)

    async def place_order(
        self, environment: str, customer: str, *, deployment: str = "", product: str = "mug"
    ) -> Page:
        """Place an order for two pieces, and return the page of the order."""
        form = {"customer": customer, "product": product, "quantity": "2"}
        return await self.submit(environment, "/orders", form, deployment=deployment)


async def _page(response: aiohttp.ClientResponse) -> Page:
    return Page(status=response.status, url=str(response.url), text=await response.text())
