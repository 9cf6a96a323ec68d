"""The attempts of one adapter process: which have begun, and when each has really ended.

A pod asks immediately before it runs the handler of an event (``fox.kit.runs``). The answer is yes
while the attempt is open, so an attempt that was given up before that can never begin. One that has
begun may outlive its time limit in a thread. The next attempt waits until the pod says that it has
ended, or until the pod is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from broker.nats.bus import Bus
from broker.runtime.tokens import new_token
from kubefox import subjects
from kubefox.delivery import PERMITTED, REFUSED, RUNS, RUNS_NOT, is_process_id
from kubefox.errors import DeadlineExceeded, NatsUnavailable, NoPodReady

logger = logging.getLogger(__name__)

HUNG_GRACE_S = 30.0
"""How long a pod that is considered hung may take to end; then the next attempt begins."""
ASK_S = 3.0
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 2.0
# A pod that reconnects to NATS has no subscription for a moment. In a cluster this lasts until the
# pod has left a server that hangs.
_GONE_ANSWERS = 2
_CLUSTER_GONE_ANSWERS = 10
_GONE_PAUSE_S = 1.0
_GATHER_S = 1.0


class Attempt:
    """One attempt to deliver an event.

    Attributes:
        subject: Where the pod asks whether it may begin.
        on_begin: Called when a pod begins the handler.
        process_id: The pod's process that has begun; empty before.
    """

    def __init__(self, subject: str, on_begin: Callable[[], None]) -> None:
        self.subject = subject
        self.on_begin = on_begin
        self.process_id = ""

    @property
    def has_begun(self) -> bool:
        """Whether a pod has begun the handler."""
        return bool(self.process_id)


class Attempts:
    """The attempts of one process.

    Args:
        bus: Connection to use.
        hung_s: How long a handler may run on after its time limit; see ``Settings.emit_hung_s``.
    """

    def __init__(self, bus: Bus, hung_s: float) -> None:
        self._bus = bus
        self._hung_s = hung_s
        self._prefix = subjects.begins(bus.process_id)
        self._open: dict[str, Attempt] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer pods that ask whether they may begin, until the context ends."""
        subscription = await self._bus.serve_fast_path(f"{self._prefix}*", self._on_request)
        try:
            yield
        finally:
            await self._bus.stop_serving(subscription)
            await asyncio.gather(*self._answering)

    @contextlib.contextmanager
    def open(self, on_begin: Callable[[], None]) -> Iterator[Attempt]:
        """Open an attempt, which may begin until the context ends; see ``Attempt``."""
        attempt = Attempt(self._prefix + new_token(), on_begin)
        self._open[attempt.subject] = attempt
        try:
            yield attempt
        finally:
            del self._open[attempt.subject]

    async def wait_ended(self, attempt: Attempt, event_id: str, *, has_died: bool = False) -> None:
        """Return when an attempt does not run any more: it has ended, or its pod is gone.

        This waits no longer than ``hung_s`` and ``HUNG_GRACE_S`` together.

        Args:
            attempt: It has begun.
            event_id: Id of its event.
            has_died: Whether its pod is known to have died.
        """
        limit_s = self._hung_s + HUNG_GRACE_S
        try:
            async with asyncio.timeout(limit_s):
                is_away = self._bus.is_clustered and not has_died
                most = _CLUSTER_GONE_ANSWERS if is_away else _GONE_ANSWERS
                await self._poll_until_ended(attempt.process_id, event_id, most)
        except TimeoutError:
            logger.error(  # noqa: TRY400 - there is no cause to show
                "event %s still runs %g s after its attempt was over, and its pod does not end: "
                "it is delivered again; look at the pod %s",
                event_id,
                limit_s,
                attempt.process_id,
            )

    async def is_running(self, target: str, event_id: str) -> bool:
        """Return whether any pod of a component version runs an event.

        A pod that does not answer within a second is left out.

        Raises:
            NatsUnavailable: The connection is down.
        """
        answers = await self._bus.gather(subjects.runs(target), event_id.encode(), _GATHER_S)
        return RUNS in answers

    async def _poll_until_ended(
        self, process_id: str, event_id: str, most_gone_answers: int
    ) -> None:
        pause_s, gone_answers = _FIRST_PAUSE_S, 0
        while True:
            try:
                subject = subjects.runs_of(process_id)
                if await self._bus.request(subject, event_id.encode(), ASK_S) == RUNS_NOT:
                    return
            except NoPodReady:
                gone_answers += 1
                if gone_answers >= most_gone_answers:
                    return
                await asyncio.sleep(_GONE_PAUSE_S)
                continue
            except (DeadlineExceeded, NatsUnavailable) as error:
                logger.debug("pod %s does not say whether it runs an event: %s", process_id, error)
            gone_answers = 0
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _on_request(self, subject: str, payload: bytes, reply: str) -> None:
        attempt, process_id = self._open.get(subject), payload.decode(errors="replace")
        answer = REFUSED
        if attempt is not None and is_process_id(process_id):
            attempt.process_id, answer = process_id, PERMITTED
            attempt.on_begin()
        if not self._bus.send(reply, answer):
            # Data of nats-py waits to be written before it.
            task = asyncio.create_task(self._publish(reply, answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _publish(self, reply: str, answer: bytes) -> None:
        # A pod that gets no answer does not begin.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(reply, answer)
