"""What an adapter is, and which ones are installed.

An adapter stands between the platform and one thing outside it: it turns requests or times into
genesis events (http, cron), or serves components that declare it as dependency (state-store). All
are found by the entry-point group ``fox.adapters``, the built-in ones included; the entry's name is
the adapter's kind.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from broker import plugins
from broker.broker import Broker
from broker.settings import Settings

GROUP = "fox.adapters"


class Adapter(Protocol):
    """Serves between entering its context and leaving it.

    Leaving takes nothing new, finishes what is in hand, and only then returns.
    """

    @property
    def kind(self) -> str:
        """What components declare, and the name of the entry point."""

    @property
    def is_inbound(self) -> bool:
        """Whether it makes genesis events: these start last and stop first."""

    @property
    def is_ready(self) -> bool:
        """Whether it serves at this moment."""

    async def __aenter__(self) -> Self:
        """Serve from now on."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving, in the order that loses nothing."""


class AdapterFactory(Protocol):
    """What an entry point names: usually the adapter's class."""

    def __call__(self, broker: Broker, settings: Settings) -> Adapter:
        """Return an adapter that does not serve yet."""


def kinds() -> list[str]:
    """Return the kinds of all installed adapters, sorted."""
    return plugins.names(GROUP)


def load(kind: str) -> AdapterFactory:
    """Return the factory of an adapter. It is imported, so not within an event loop.

    Raises:
        NotFound: No such adapter is installed.
    """
    factory: AdapterFactory = plugins.load(GROUP, kind)
    return factory
