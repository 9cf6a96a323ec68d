"""The cron adapter: ticks are genesis events for the components that declare schedules.

Each active release has its own ticks: the same component version gets one for ``team-a`` and one
for ``team-b``. There is one timer, for the next due tick; a change of the control plane's data
interrupts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Self

from adapters.cron.claims import ClaimRefusal, TickClaims
from adapters.cron.schedule import TOLERANCE_S, NextTick, TickQueue, is_late, parse
from broker.dispatch.broker import Broker
from broker.dispatch.request import DispatchRequest
from broker.dispatch.responses import discard_body
from broker.runtime.platform_clock import clock
from broker.runtime.settings import Settings
from broker.streams.incoming import IncomingStream
from kubefox.component import short
from kubefox.context import adapter_source
from kubefox.errors import FoxError, InvalidRequest, NoPodReady
from kubefox.event import EventType, ResponseHead
from routing.request import GenesisRequest
from routing.schedules import ReleasedSchedule, released_schedules
from routing.snapshot.release_index import ReleaseIndex
from routing.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

# Longest wait: setting the clock, or suspending the machine, moves the due times.
_MAX_WAIT_S = 60
_ERROR_STATUS = 400
_RETRY_S = 0.5


class ScheduleKey(NamedTuple):
    """Identity of a schedule's times, which stays equal across releases."""

    virtual_environment: str
    app: str
    component: str
    schedule: int
    cron: str

    @property
    def claim(self) -> str:
        """Key of the schedule's claims."""
        return f"{self.virtual_environment}.{self.app}.{self.component}.{self.schedule}"


class CronAdapter:
    """Sends the ticks of each released schedule at their due times.

    Args:
        broker: Sends the ticks, and has the snapshot of the releases.
        settings: Of the process.
        clock: Returns the Unix time; by default that of NATS, see ``platform_clock``.
    """

    kind = "cron"
    is_inbound = True

    def __init__(
        self, broker: Broker, settings: Settings, *, clock: Callable[[], float] = clock.now_s
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._clock = clock
        self._measure = broker.telemetry.request_telemetry(adapter_source(self.kind))
        self._claims = TickClaims(broker.bus)
        self._queue: TickQueue[ScheduleKey] = TickQueue()
        self._release_index: ReleaseIndex | None = None
        self._released: dict[ScheduleKey, ReleasedSchedule] = {}
        self._ticks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start to send ticks."""
        self._loop = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Send no more ticks, and wait for the responses to those that were sent."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None
        if self._ticks:
            _, late = await asyncio.wait(self._ticks, timeout=self._settings.drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def is_ready(self) -> bool:
        """Whether ticks are sent according to current data."""
        is_running = self._loop is not None and not self._loop.done()
        return is_running and self._broker.is_ready

    async def _run(self) -> None:
        try:
            await self._run_schedules()
        except Exception:
            logger.exception("the cron adapter failed and sends no more ticks; restart the process")

    async def _run_schedules(self) -> None:
        # Ticks that came due while this process was replaced are sent too, within the tolerance.
        self._update_schedules(self._broker.snapshot, self._clock() - TOLERANCE_S)
        last_s = self._clock()
        while True:
            last_s = self._check_clock(last_s)
            snapshot = self._broker.snapshot
            self._update_schedules(snapshot, self._clock())
            for key, ticks in self._queue.pop_due(self._clock()).items():
                self._start(self._released[key], key, ticks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._broker.store.wait_other(snapshot)

    def _check_clock(self, last_s: float) -> float:
        """Return the time; if the clock was set back, compute the ticks from there on anew."""
        now_s = self._clock()
        if is_late(int(now_s), last_s):
            logger.warning(
                "the clock was set back by %.0f s: schedules go on from %s",
                last_s - now_s,
                _iso(int(now_s)),
            )
            self._queue.restart(now_s)
        return now_s

    def _update_schedules(self, snapshot: Snapshot, since_s: float) -> None:
        # Most changes of the snapshot do not change the releases.
        if snapshot.release_index is self._release_index:
            return
        self._release_index = snapshot.release_index
        released = {_key_of(schedule): schedule for schedule in released_schedules(snapshot)}
        if released.keys() != self._released.keys():
            self._queue.replace(_next_ticks(released), since_s)
        self._released = released

    def _wait_s(self) -> float:
        due_s = self._queue.next_due_s
        if due_s is None:
            return _MAX_WAIT_S
        return min(max(due_s - self._clock(), 0), _MAX_WAIT_S)

    def _start(self, released: ReleasedSchedule, key: ScheduleKey, ticks: list[int]) -> None:
        task = asyncio.create_task(self._run_ticks(released, key, ticks))
        self._ticks.add(task)
        task.add_done_callback(self._ticks.discard)

    async def _run_ticks(
        self, released: ReleasedSchedule, key: ScheduleKey, ticks: list[int]
    ) -> None:
        for tick_s in ticks:
            event_id = self._broker.telemetry.new_id()
            try:
                await self._claim_and_send(released, key, tick_s, event_id)
            except FoxError as error:
                logger.warning("cron event %s for %s failed: %s", event_id, _name(released), error)
            except Exception:
                logger.exception("cron event %s for %s failed", event_id, _name(released))

    async def _claim_and_send(
        self, released: ReleasedSchedule, key: ScheduleKey, tick_s: int, event_id: str
    ) -> None:
        claim = await self._claim(key, tick_s)
        match claim:
            case ClaimRefusal.TAKEN:
                return
            case ClaimRefusal.BUSY | ClaimRefusal.LATE:
                logger.warning(
                    "tick %s for %s is skipped: %s", _iso(tick_s), _name(released), claim.value
                )
            case revision:
                try:
                    await self._send(released, tick_s, event_id)
                finally:
                    await self._claims.release(key.claim, tick_s, revision)

    async def _claim(self, key: ScheduleKey, tick_s: int) -> int | ClaimRefusal:
        now_s = self._clock()
        if is_late(tick_s, now_s):
            return ClaimRefusal.LATE
        busy_until_s = now_s + TOLERANCE_S + self._settings.event_ttl_s
        claim = await self._claims.claim(key.claim, tick_s, now_s=now_s, busy_until_s=busy_until_s)
        # NATS may have had no leader meanwhile.
        if isinstance(claim, int) and is_late(tick_s, self._clock()):
            with contextlib.suppress(FoxError):
                await self._claims.release(key.claim, tick_s, claim)
            return ClaimRefusal.LATE
        return claim

    async def _send(self, released: ReleasedSchedule, tick_s: int, event_id: str) -> None:
        target = self._broker.dispatch_target(released.target)
        telemetry = self._measure(event_id)
        telemetry.set_target(target)
        telemetry.sent_ns = telemetry.routed_ns
        request = DispatchRequest(
            target=target,
            request=GenesisRequest(type=EventType.CRON),
            event_id=event_id,
            source=adapter_source(self.kind),
            handler=released.schedule.id,
            params={"tick": _iso(tick_s)},
            traceparent=telemetry.traceparent,
            ttl_s=self._settings.event_ttl_s,
        )
        try:
            response = await self._dispatch(request, _name(released), tick_s)
        except BaseException as error:
            telemetry.abort(error)
            raise
        telemetry.responder = response.responder
        telemetry.end(response.status)
        if response.status >= _ERROR_STATUS:
            logger.warning(
                "cron event %s for %s was answered with status %d",
                event_id,
                _name(released),
                response.status,
            )

    async def _dispatch(self, request: DispatchRequest, name: str, tick_s: int) -> ResponseHead:
        """Send a tick, and return its response; while no pod is ready and it is not late, retry.

        A pod may be starting, above all just after the start of the platform.
        """
        while True:
            ends_s = time.monotonic() + self._settings.event_ttl_s
            try:
                response, content = await self._broker.dispatch(request)
            except NoPodReady:
                if is_late(tick_s, self._clock() + _RETRY_S):
                    raise
                logger.info("tick %s for %s waits: no pod is ready", _iso(tick_s), name)
                await asyncio.sleep(_RETRY_S)
            else:
                if isinstance(content, IncomingStream):
                    # The body has no reader, but making it is part of the handler's work.
                    await discard_body(content, ends_s - time.monotonic())
                return response


def _key_of(released: ReleasedSchedule) -> ScheduleKey:
    target, schedule = released.target, released.schedule
    context = target.context
    return ScheduleKey(
        context.virtual_environment, context.app, target.component, schedule.id, schedule.cron
    )


def _next_ticks(released: dict[ScheduleKey, ReleasedSchedule]) -> dict[ScheduleKey, NextTick]:
    next_ticks = {}
    for key, schedule in released.items():
        try:
            next_ticks[key] = parse(key.cron)
        except InvalidRequest as error:
            logger.error("%s gets no ticks: %s", _name(schedule), error)  # noqa: TRY400
    return next_ticks


def _name(released: ReleasedSchedule) -> str:
    target = released.target
    return f"{target.component}@{short(target.hash)} in {target.context.virtual_environment}"


def _iso(tick_s: int) -> str:
    return datetime.fromtimestamp(tick_s, UTC).isoformat()
