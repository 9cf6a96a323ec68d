"""Cron: ticks are genesis events for the components that declare schedules.

Each active release gets its own: the same component version ticks once for ``team-a`` and once for
``team-b``. There is one timer, for the tick that is due next; a change of the control plane's data
interrupts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from adapters.cron_claims import Refusal, TickClaims
from adapters.cron_schedule import TOLERANCE_S, Agenda, NextTick, is_late, parse
from broker.answers import discard
from broker.broker import Broker
from broker.ids import new_id
from broker.lane import Lane
from broker.settings import Settings
from broker.stream import Incoming
from broker.telemetry.genesis import Genesis
from model.component import short
from model.context import adapter_source
from model.errors import FoxError, InvalidRequest, NoPodReady
from model.event import EventType, Response
from routing.plain import PlainIndex
from routing.schedules import ReleasedSchedule, released_schedules
from routing.snapshot import Snapshot

logger = logging.getLogger(__name__)

# The longest sleep: a wall clock that was set, or a machine that slept, moves due times.
_MAX_WAIT_S = 60
_ERROR_STATUS = 400
_RETRY_S = 0.5


class ScheduleKey(NamedTuple):
    """What stays the same as long as a schedule's times do, over releases too."""

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
    """Sends each released schedule's events at their times.

    Args:
        broker: Sends them, and knows what is released.
        settings: Of the process.
        clock: Returns the Unix time.
    """

    kind = "cron"
    is_inbound = True

    def __init__(
        self, broker: Broker, settings: Settings, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare to run; entering the context starts."""
        self._broker = broker
        self._settings = settings
        self._clock = clock
        self._measure = broker.telemetry.genesis_of(adapter_source(self.kind))
        self._claims = TickClaims(broker.bus)
        self._agenda: Agenda[ScheduleKey] = Agenda()
        self._followed: PlainIndex | None = None
        self._released: dict[ScheduleKey, ReleasedSchedule] = {}
        self._ticks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Send ticks from now on."""
        self._loop = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send no more ticks, and wait for the answers to those that were sent."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None
        if self._ticks:
            _, late = await asyncio.wait(self._ticks, timeout=self._settings.drain_s)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def is_ready(self) -> bool:
        """Whether ticks are sent by current data."""
        is_running = self._loop is not None and not self._loop.done()
        return is_running and self._broker.is_ready

    async def _run(self) -> None:
        try:
            await self._follow_clock()
        except Exception:
            logger.exception("the cron adapter has stopped: no tick is sent any more")

    async def _follow_clock(self) -> None:
        # What came due while this process was being replaced is made up, a moment's worth.
        self._follow(self._broker.snapshot, self._clock() - TOLERANCE_S)
        while True:
            revision = self._broker.snapshot.revision
            self._follow(self._broker.snapshot, self._clock())
            for key, ticks in self._agenda.take_due(self._clock()).items():
                self._start(self._released[key], key, ticks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._broker.store.wait_change(revision)

    def _follow(self, snapshot: Snapshot, since_s: float) -> None:
        # Of all that changes, hardly anything changes what is released.
        if snapshot.plain is self._followed:
            return
        self._followed = snapshot.plain
        released = {_key_of(each): each for each in released_schedules(snapshot)}
        if released.keys() != self._released.keys():
            self._agenda.follow(_next_ticks(released), since_s)
        self._released = released

    def _wait_s(self) -> float:
        due_s = self._agenda.next_due_s
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
            event_id = new_id()
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
            case Refusal.TAKEN:
                return
            case Refusal.BUSY | Refusal.LATE:
                logger.warning(
                    "tick %s for %s is skipped: %s", _iso(tick_s), _name(released), claim.value
                )
            case revision:
                try:
                    await self._send(released, tick_s, event_id)
                finally:
                    await self._claims.release(key.claim, tick_s, revision)

    async def _claim(self, key: ScheduleKey, tick_s: int) -> int | Refusal:
        now_s = self._clock()
        if is_late(tick_s, now_s):
            return Refusal.LATE
        busy_until_s = now_s + TOLERANCE_S + self._settings.event_ttl_s
        return await self._claims.claim(key.claim, tick_s, now_s=now_s, busy_until_s=busy_until_s)

    async def _send(self, released: ReleasedSchedule, tick_s: int, event_id: str) -> None:
        lane = self._broker.lane(released.target)
        measured = self._measure(event_id)
        measured.lead_to(lane)
        measured.sent_ns = measured.routed_ns
        try:
            response = await self._dispatch(lane, measured, released, tick_s)
        except BaseException as error:
            measured.break_off(error)
            raise
        measured.end(response.status)
        if response.status >= _ERROR_STATUS:
            logger.warning(
                "cron event %s for %s was answered %d",
                event_id,
                _name(released),
                response.status,
            )

    async def _dispatch(
        self, lane: Lane, measured: Genesis, released: ReleasedSchedule, tick_s: int
    ) -> Response:
        """Send a tick; one that finds no pod is sent again while it is not late.

        Its pod may be about to start, above all when the platform itself just did.
        """
        ttl_s = self._settings.event_ttl_s
        while True:
            ends_s = time.monotonic() + ttl_s
            try:
                response, content = await self._broker.dispatch(
                    lane,
                    event_id=measured.event_id,
                    type=EventType.CRON,
                    source=adapter_source(self.kind),
                    handler=released.schedule.id,
                    params={"tick": _iso(tick_s)},
                    traceparent=measured.traceparent,
                    ttl_s=ttl_s,
                )
            except NoPodReady:
                if is_late(tick_s, self._clock() + _RETRY_S):
                    raise
                logger.info("tick %s for %s waits for a pod", _iso(tick_s), _name(released))
                await asyncio.sleep(_RETRY_S)
            else:
                if isinstance(content, Incoming):
                    # A tick has nobody who would read it, but to make it is a part of the tick.
                    await discard(content, ends_s - time.monotonic())
                return response


def _key_of(released: ReleasedSchedule) -> ScheduleKey:
    target, schedule = released.target, released.schedule
    context = target.context
    return ScheduleKey(
        context.virtual_environment, context.app, target.component, schedule.id, schedule.cron
    )


def _next_ticks(released: dict[ScheduleKey, ReleasedSchedule]) -> dict[ScheduleKey, NextTick]:
    next_ticks = {}
    for key, each in released.items():
        try:
            next_ticks[key] = parse(key.cron)
        except InvalidRequest as error:
            logger.error("%s never ticks: %s", _name(each), error)  # noqa: TRY400
    return next_ticks


def _name(released: ReleasedSchedule) -> str:
    target = released.target
    return f"{target.component}@{short(target.hash)} in {target.context.virtual_environment}"


def _iso(tick_s: int) -> str:
    return datetime.fromtimestamp(tick_s, UTC).isoformat()
