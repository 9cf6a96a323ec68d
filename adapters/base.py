"""The adapter protocol, and the installed adapters.

An adapter connects the platform with one thing outside it. It turns requests or times into genesis
events (http, cron), delivers stored events (emit), or serves components that declare it as a
dependency (state-store). All adapters, the built-in ones included, are entry points of the group
``fox.adapters``; the entry point's name is the adapter's kind.
"""

from __future__ import annotations

from typing import Protocol, Self

from broker.dispatch.broker import Broker
from broker.runtime import plugins
from broker.runtime.settings import Settings

GROUP = "fox.adapters"


class Adapter(Protocol):
    """Serves while its context lasts.

    Leaving the context accepts nothing new, waits for everything in flight, and then returns.
    """

    @property
    def kind(self) -> str:
        """Name of the entry point, and of the dependency that components declare."""

    @property
    def is_inbound(self) -> bool:
        """Whether it sends events to components: such adapters start last and stop first."""

    @property
    def is_ready(self) -> bool:
        """Whether it can serve at this moment."""

    async def __aenter__(self) -> Self:
        """Start to serve."""

    async def __aexit__(self, *_exception: object) -> None:
        """Stop to serve, without losing anything in flight."""


class AdapterFactory(Protocol):
    """The object of an entry point: usually the adapter's class."""

    def __call__(self, broker: Broker, settings: Settings) -> Adapter:
        """Return an adapter whose context has not been entered."""


def kinds() -> list[str]:
    """Return the kinds of all installed adapters, sorted."""
    return plugins.names(GROUP)


def load(kind: str) -> AdapterFactory:
    """Return the factory of an adapter; its module is imported, so not within an event loop.

    Raises:
        NotFound: No adapter of this kind is installed.
    """
    factory: AdapterFactory = plugins.load(GROUP, kind)
    return factory
