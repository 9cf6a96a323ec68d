"""Dead letters: events that could not be delivered, kept until they are redelivered or deleted.

After the last delivery, JetStream itself would only send one advisory message, and keep the event
undelivered. So the emit adapter stores the event here, and settles it after that.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from broker.events.outbox import STREAM as EVENTS
from broker.events.outbox import Outbox, ensure_stream
from broker.nats.bus import Bus
from broker.nats.jetstream import translated_errors
from broker.nats.status import is_no_responders
from kubefox import dead_letter, subjects
from kubefox.dead_letter import DeadLetter, DeadLetterRecord
from kubefox.errors import NatsUnavailable, NotFound

STREAM = "kubefox-dead-letters"
MAX_STREAM_BYTES = 256 << 20
MAX_AGE_S = 30 * 86_400.0
PAGE_LETTERS = 256
"""Dead letters that one request to NATS returns at most."""
_PAGE_BYTES = 8 << 20
_PAGE_TIMEOUT_S = 5
_SUBJECTS = "dead.*.*.*"
# Error codes of nats-server for a sequence number without a message.
_NO_MESSAGE = (10037, 10043, 10057)
_PAGES = f"$JS.API.DIRECT.GET.{STREAM}"


Reseal = Callable[[str], str]


def _keep(token: str) -> str:
    return token


class Counts(NamedTuple):
    """Numbers of events.

    Attributes:
        waiting: Events that wait or are in flight.
        dead: Dead letters.
    """

    waiting: int
    dead: int


class DeadLetters:
    """Reads and writes the dead letters of the platform.

    Every method raises NatsUnavailable if NATS does not answer.

    Args:
        bus: Connection to use.
        reseal: Returns the token that a redelivered event gets in place of its own, whose key may
            be removed soon.
        page_letters: Dead letters that one request to NATS returns at most.
    """

    def __init__(
        self, bus: Bus, reseal: Reseal = _keep, *, page_letters: int = PAGE_LETTERS
    ) -> None:
        self._bus = bus
        self._reseal = reseal
        self._page_letters = page_letters
        self._jetstream = bus.jetstream()
        self._outbox = Outbox(bus)

    async def store(self, record: DeadLetterRecord, sequence: int) -> None:
        """Store a dead letter.

        Args:
            record: The event, and why it could not be delivered.
            sequence: Sequence number of the event in its stream. Two records of one event, stored
                because a process died before it had settled the event, become one dead letter.
        """
        deduplication_id = f"{sequence}-{record.emitted_at_s}"
        with translated_errors(self._bus, "store a dead letter"):
            await self._jetstream.publish(
                subjects.dead_letter(record.target),
                dead_letter.encode(record),
                headers={api.Header.MSG_ID.value: deduplication_id},
            )

    async def page(
        self, after: int, limit: int, *, app: str = "*", component: str = "*"
    ) -> tuple[list[DeadLetter], int | None]:
        """Return some dead letters without their bodies, the oldest first.

        Args:
            after: Sequence number (the id) behind which to begin.
            limit: Letters to return at most; NATS may return fewer.
            app: Name of the app for whose components they were; ``*`` means any.
            component: Name of the component for which they were; ``*`` means any.

        Returns:
            The letters, and the sequence number for the next page; None if there is none.
        """
        request = {
            "seq": after + 1,
            "next_by_subj": f"dead.{app}.{component}.*",
            "batch": min(limit, self._page_letters),
            "max_bytes": _PAGE_BYTES,
        }
        with translated_errors(self._bus, "list dead letters"):
            messages = await self._bus.request_many(
                _PAGES, json.dumps(request).encode(), _PAGE_TIMEOUT_S
            )
        *found, end = messages
        if is_no_responders(end):
            raise NatsUnavailable(f"cannot list dead letters: stream {STREAM} does not answer")
        has_more = (end.headers or {}).get("Nats-Num-Pending", "0") != "0"
        last = int((end.headers or {}).get("Nats-Last-Sequence", "0"))
        return [_to_letter(message) for message in found], last if has_more else None

    async def last_id(self) -> int:
        """Return the sequence number of the newest dead letter, which may be deleted; 0 if none."""
        with translated_errors(self._bus, f"look at stream {STREAM}"):
            return (await self._jetstream.stream_info(STREAM)).state.last_seq

    async def get(self, letter_id: str) -> DeadLetter:
        """Return one dead letter with its body.

        Raises:
            NotFound: The dead letter does not exist.
        """
        return dead_letter.to_dead_letter(await self._read(letter_id), letter_id, with_body=True)

    async def redeliver(self, letter_id: str) -> None:
        """Store the event of a dead letter in the outbox again, and delete the dead letter.

        Raises:
            NotFound: The dead letter does not exist.
            Overloaded: The outbox is full.
        """
        record = await self._read(letter_id)
        await self._outbox.store(
            subjects.emitted(record.target),
            dead_letter.redelivery_frame(record, self._reseal),
            # Two requests at the same time store the event once.
            deduplication_id=f"{STREAM}-{letter_id}-{record.died_at_s}",
        )
        await self.delete(letter_id)

    async def delete(self, letter_id: str) -> None:
        """Delete a dead letter.

        Raises:
            NotFound: The dead letter does not exist.
        """
        with translated_errors(self._bus, f"delete dead letter {letter_id}"):
            try:
                await self._jetstream.delete_msg(STREAM, _sequence(letter_id))
            except (NotFoundError, APIError) as error:
                if isinstance(error, NotFoundError) or error.err_code in _NO_MESSAGE:
                    raise _not_found(letter_id) from error
                raise

    async def counts(self) -> Counts:
        """Return how many events wait, and how many dead letters there are."""
        return Counts(await self._messages(EVENTS), await self._messages(STREAM))

    async def _messages(self, stream: str) -> int:
        with translated_errors(self._bus, f"look at stream {stream}"):
            try:
                return (await self._jetstream.stream_info(stream)).state.messages
            except NotFoundError:
                return 0

    async def _read(self, letter_id: str) -> DeadLetterRecord:
        sequence = _sequence(letter_id)
        with translated_errors(self._bus, f"read dead letter {letter_id}"):
            # In a cluster, a copy may lack the latest letters; the leader has all.
            for direct in (True, False) if self._bus.is_clustered else (True,):
                with contextlib.suppress(NotFoundError, NoStreamResponseError):
                    found = await self._jetstream.get_msg(STREAM, sequence, direct=direct)
                    return dead_letter.decode(found.data or b"")
        raise _not_found(letter_id)


async def open_dead_letters(bus: Bus, reseal: Reseal = _keep) -> DeadLetters:
    """Create the stream of dead letters if it is missing, and return the dead letters.

    Args:
        bus: Connection to use.
        reseal: See ``DeadLetters``; needed for redelivery.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    await ensure_stream(
        bus,
        api.StreamConfig(
            name=STREAM,
            subjects=[_SUBJECTS],
            # A full stream refuses new letters. Their events stay in the outbox until that is full
            # too, and the emitters get an error.
            discard=api.DiscardPolicy.NEW,
            max_bytes=MAX_STREAM_BYTES,
            max_age=MAX_AGE_S,
            allow_direct=True,
        ),
    )
    return DeadLetters(bus, reseal)


def _to_letter(message: Msg) -> DeadLetter:
    letter_id = (message.headers or {})["Nats-Sequence"]
    return dead_letter.to_dead_letter(dead_letter.decode(message.data), letter_id, with_body=False)


def _sequence(letter_id: str) -> int:
    if not letter_id.isascii() or not letter_id.isdecimal() or not 0 < int(letter_id) < 1 << 63:
        raise _not_found(letter_id)
    return int(letter_id)


def _not_found(letter_id: str) -> NotFound:
    return NotFound(f"dead letter {letter_id} does not exist")
