"""Reads of a KV bucket: in a cluster, what was written before is found.

An entry is read from the leader of the bucket's stream, see ``broker.nats.leader_reads``. A page
cannot be read from it, so a page is read again if it lacks entries that the leader has. While the
leader does not answer, such as for 4 to 9 s after its server has died, any copy is read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import Attempts
from broker.nats.leader_reads import LatestMessage, NoLeader, read_latest
from broker.nats.status import is_no_responders
from broker.runtime.cancelling import within
from kubefox.errors import NatsUnavailable

PAUSES_S = (0.0, 0.0, 0.05, 0.2, 0.5)
"""The pause before each attempt to use a bucket that has no responder: in a cluster, the server of
this process may hear of a new bucket some time after it was made."""

_PAGE_S = 5.0
_CLUSTER_PAGE_S = 2.0
"""Time for one attempt: the copy that is asked may be that of a server that hangs."""
_COPY_S = 0.5
_LAG_S = 1.0
_LAG_PAUSE_S = 0.005


class BucketReads:
    """Reads one bucket, which may not exist.

    Args:
        bus: Connection to use.
        bucket: Name of the bucket.
        needs_leader: Whether an entry is read from the leader only, which may take 12 s.
    """

    def __init__(self, bus: Bus, bucket: str, *, needs_leader: bool = False) -> None:
        self._bus = bus
        self._jetstream = bus.jetstream()
        self._bucket = bucket
        self._stream = f"KV_{bucket}"
        self._needs_leader = needs_leader

    async def last(self, subject: str) -> LatestMessage | None:
        """Return the latest message of a subject, or None.

        Raises:
            NatsUnavailable: NATS does not answer.
            nats.errors.Error: The same, from nats-py; or NATS refuses.
        """
        if not self._bus.is_clustered:
            return await self._last_of_copy(subject)
        attempts = Attempts(self._bus)
        while await attempts.begin():
            try:
                return await read_latest(self._bus, self._stream, subject)
            except NatsUnavailable as error:
                attempts.fail(error)
            except NoLeader as error:
                attempts.fail(error)
                if not self._needs_leader:
                    with contextlib.suppress(TimeoutError):
                        return await within(_COPY_S, self._last_of_copy(subject))
        raise self.no_answer()

    async def page(self, pattern: str, after: int, query: bytes) -> Sequence[Msg]:
        """Read a page.

        Args:
            pattern: Subjects of the page, with wildcards.
            after: Revision after which it begins.
            query: The request of a direct get of a batch.

        Returns:
            Its messages, and one with a status; see ``next_page``.

        Raises:
            NatsUnavailable: NATS does not answer.
            nats.errors.Error: The same, from nats-py; or NATS refuses.
            TimeoutError: The only server does not answer.
        """
        if not self._bus.is_clustered:
            return await self._batch(query, _PAGE_S)
        attempts = Attempts(self._bus)
        while await attempts.begin():
            try:
                return await self._current_page(pattern, after, query)
            except (NatsUnavailable, TimeoutError) as error:
                attempts.fail(error)
        raise self.no_answer()

    def no_answer(self) -> NatsUnavailable:
        """Return the error for a bucket that does not answer."""
        return NatsUnavailable(f"NATS does not answer for bucket {self._bucket}")

    async def _current_page(self, pattern: str, after: int, query: bytes) -> Sequence[Msg]:
        """Read a page again until it has what the leader had after the first time."""
        messages = await self._batch(query, _CLUSTER_PAGE_S)
        if next_page(messages):
            return messages
        with contextlib.suppress(NoLeader):
            newest = await self._newest(pattern)
            async with asyncio.timeout(_LAG_S):
                while _last_revision(messages, after) < newest and not next_page(messages):
                    await asyncio.sleep(_LAG_PAUSE_S)
                    messages = await self._batch(query, _CLUSTER_PAGE_S)
                    # The newest entry may have been deleted meanwhile.
                    newest = min(newest, await self._newest(pattern))
        return messages

    async def _newest(self, pattern: str) -> int:
        """Return the newest revision that the leader has; 0 without one."""
        found = await read_latest(self._bus, self._stream, pattern)
        return 0 if found is None else found.revision

    async def _last_of_copy(self, subject: str) -> LatestMessage | None:
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                found = await self._jetstream.get_last_msg(self._stream, subject, direct=True)
            except NotFoundError:
                return None
            except NoRespondersError:
                if not await self._exists():
                    return None
            else:
                return LatestMessage(found.seq or 0, found.data or b"", found.headers or {})
        raise self.no_answer()

    async def _batch(self, query: bytes, timeout_s: float) -> Sequence[Msg]:
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            messages = await self._bus.request_many(subject, query, timeout_s)
            if not is_no_responders(messages[-1]) or not await self._exists():
                return messages
        raise self.no_answer()

    async def _exists(self) -> bool:
        """Return whether the bucket exists; called when a read had no responder.

        If it exists, either it was created after the read, so a later attempt succeeds, or it has
        no leader, so no attempt gets an answer.
        """
        try:
            await self._jetstream.stream_info(self._stream)
        except NotFoundError:
            return False
        return True


def revision_of(message: Msg) -> int:
    """Return the revision of a message of a page."""
    return int((message.headers or {})["Nats-Sequence"])


def next_page(messages: Sequence[Msg]) -> int | None:
    """Return the revision after which the next page begins; None after the last one."""
    headers = messages[-1].headers or {}
    has_more = headers.get("Nats-Num-Pending", "0") != "0"
    return int(headers["Nats-Last-Sequence"]) if has_more else None


def _last_revision(messages: Sequence[Msg], after: int) -> int:
    """Return the revision up to which a page goes; ``after`` for an empty one."""
    return revision_of(messages[-2]) if len(messages) > 1 else after
