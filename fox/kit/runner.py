"""Run a handler within its time limit, and an emitted event only when it may begin."""

from __future__ import annotations

import asyncio

from broker.runtime.platform_clock import clock
from fox.kit.context import Context
from fox.kit.kit import Handler, Kit
from fox.kit.response import Content, Response
from fox.kit.runs import Runs
from kubefox.errors import DeadlineExceeded
from kubefox.event import Event


class HandlerRunner:
    """Runs the handlers of one component version.

    Args:
        kit: The component's declaration; it has the time limits.
        runs: The emitted events that run in this process.
        source: The component version, as in ``Event.source``.
    """

    def __init__(self, kit: Kit, runs: Runs, source: str) -> None:
        self._kit = kit
        self._runs = runs
        self._source = source

    async def run(self, handler: Handler, ctx: Context) -> Content | Response:
        """Run a handler and return its response.

        Raises:
            DeadlineExceeded: The handler's time limit is over; the handler is cancelled.
            FoxError: The event may not begin; see ``Runs.run``.
            Exception: The handler raised it.
        """
        event = ctx.event
        limit_s = self._limit_s(event)
        if event.delivery is None:
            return await (handler(ctx) if limit_s is None else self._limited(handler, ctx, limit_s))
        if limit_s is None:
            limit_s = event.remaining_s(clock.now_s())
        async with self._runs.run(event, event.delivery, limit_s) as run:
            content = await self._limited(handler, ctx, limit_s)
            if isinstance(content, Response) and (body := content.to_reply().stream) is not None:
                run.hold_body(body)
            return content

    def _limit_s(self, event: Event) -> float | None:
        """Return the lower limit of the handler and of the delivery, or None without any."""
        own_s = self._kit.time_limit_s(event)
        if event.delivery is None or not event.delivery.timeout_ms:
            return own_s
        delivery_s = event.delivery.timeout_ms / 1000
        return delivery_s if own_s is None else min(own_s, delivery_s)

    async def _limited(self, handler: Handler, ctx: Context, limit_s: float) -> Content | Response:
        ctx.limit_deadline(int((clock.now_s() + limit_s) * 1000))
        timer = asyncio.timeout(limit_s)
        try:
            async with timer:
                return await handler(ctx)
        except TimeoutError:
            if not timer.expired():
                raise
            detail = f"the handler of {self._source} exceeded its time limit of {limit_s:g} s"
            raise DeadlineExceeded(detail, hop=self._source) from None
