"""The figures of a process's caches of contexts, as metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.telemetry.metrics import Metrics
from kubefox.sized_cache import SizedCache


def watch_contexts(metrics: Metrics, cache: SizedCache[Any, Any]) -> None:
    """Show the figures of the cache that keeps the data or the views of contexts."""
    metrics.watch_counter("context_cache_hits", lambda: cache.hits)
    metrics.watch_counter("context_cache_misses", lambda: cache.misses)
    metrics.watch_counter("context_cache_evictions", lambda: cache.evictions)
    metrics.watch_gauge("context_cache_bytes", lambda: cache.size_bytes)


class RouteHits:
    """The hits of the cache that keeps the routes of contexts: all routed events but its misses.

    A request does not count its own hit: most requests find their routes without the cache, where
    the last one left them.

    Args:
        cache: Returns the current cache; a snapshot that was read as a whole has a new one.
        routed: Returns the number of routed events.
    """

    def __init__(
        self, cache: Callable[[], SizedCache[Any, Any]], routed: Callable[[], int]
    ) -> None:
        self._cache = cache
        self._routed = routed
        self._shown = 0

    def read(self) -> int:
        """Return the number of hits; it never decreases, though events are counted later."""
        self._shown = max(self._shown, self._routed() - self._cache().misses)
        return self._shown


def watch_routes(
    metrics: Metrics, cache: Callable[[], SizedCache[Any, Any]], routed: Callable[[], int]
) -> None:
    """Show the figures of the cache that keeps the routes of contexts; see ``RouteHits``."""
    metrics.watch_counter("route_cache_hits", RouteHits(cache, routed).read)
    metrics.watch_counter("route_cache_misses", lambda: cache().misses)
    metrics.watch_counter("route_cache_evictions", lambda: cache().evictions)
    metrics.watch_gauge("route_cache_bytes", lambda: cache().size_bytes)
