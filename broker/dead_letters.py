"""Events that were given up, kept until somebody sends them again or drops them.

JetStream itself would only stop handing out an event after so many deliveries, and say so once. So
whoever gives one up stores it here, and settles it only then.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from broker.bus import NO_RESPONDERS, Bus, status_of
from broker.jetstream import reported
from broker.outbox import STREAM as EVENTS
from broker.outbox import Outbox, ensure_stream
from model import dead_letter, subjects
from model.dead_letter import Burial, DeadLetter
from model.errors import NatsUnavailable, NotFound

STREAM = "kubefox-dead-letters"
MAX_STREAM_BYTES = 256 << 20
MAX_AGE_S = 30 * 86_400.0
_PAGE_LETTERS = 256
_PAGE_BYTES = 8 << 20
_PAGE_TIMEOUT_S = 5
_SUBJECTS = "dead.*.*.*"
# So nats-server says that a number was never used, or is not any more.
_NO_MESSAGE = (10037, 10043, 10057)
_PAGES = f"$JS.API.DIRECT.GET.{STREAM}"


class Counts(NamedTuple):
    """How many events wait or are in hand, and how many were given up."""

    waiting: int
    dead: int


class DeadLetters:
    """The dead letters of the whole platform.

    Every method raises NatsUnavailable when NATS does not answer.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        """Keep the connection; nothing is sent."""
        self._bus = bus
        self._jetstream = bus.jetstream()
        self._outbox = Outbox(bus)

    async def bury(self, buried: Burial, sequence: int) -> None:
        """Store a dead letter; return once it is.

        Args:
            buried: What and why.
            sequence: Of the event in its stream. Stored twice, because the process died before
                it had settled the event, it is one letter.
        """
        deduplication_id = f"{sequence}-{buried.emitted_at_s}"
        with reported(self._bus, "store a dead letter"):
            await self._jetstream.publish(
                subjects.dead_letter(buried.target),
                dead_letter.encode(buried),
                headers={api.Header.MSG_ID.value: deduplication_id},
            )

    async def all(self, limit: int) -> list[DeadLetter]:
        """Return dead letters without their bodies, the oldest first."""
        found: list[DeadLetter] = []
        after: int | None = 0
        while after is not None and len(found) < limit:
            page, after = await self._page(after, min(limit - len(found), _PAGE_LETTERS))
            found += page
        return found

    async def get(self, letter_id: str) -> DeadLetter:
        """Return one dead letter with its body.

        Raises:
            NotFound: There is none of this id.
        """
        return dead_letter.show(await self._read(letter_id), letter_id, with_body=True)

    async def redeliver(self, letter_id: str) -> None:
        """Let an event be delivered again, as one that has been tried before.

        Raises:
            NotFound: There is none of this id.
            Overloaded: As many events wait as may.
        """
        buried = await self._read(letter_id)
        await self._outbox.store(
            subjects.emitted(buried.target),
            dead_letter.revived(buried),
            # Asked for twice at the same time, it is sent once.
            deduplication_id=f"{STREAM}-{letter_id}-{buried.died_at_s}",
        )
        await self.delete(letter_id)

    async def delete(self, letter_id: str) -> None:
        """Drop a dead letter for good.

        Raises:
            NotFound: There is none of this id.
        """
        with reported(self._bus, f"delete dead letter {letter_id}"):
            try:
                await self._jetstream.delete_msg(STREAM, _sequence(letter_id))
            except (NotFoundError, APIError) as error:
                if isinstance(error, NotFoundError) or error.err_code in _NO_MESSAGE:
                    raise _not_found(letter_id) from error
                raise

    async def counts(self) -> Counts:
        """Return how many events wait, and how many were given up."""
        return Counts(await self._messages(EVENTS), await self._messages(STREAM))

    async def _messages(self, stream: str) -> int:
        with reported(self._bus, f"look at stream {stream}"):
            try:
                return (await self._jetstream.stream_info(stream)).state.messages
            except NotFoundError:
                return 0

    async def _read(self, letter_id: str) -> Burial:
        with reported(self._bus, f"read dead letter {letter_id}"):
            try:
                found = await self._jetstream.get_msg(STREAM, _sequence(letter_id), direct=True)
            except (NotFoundError, NoStreamResponseError) as error:
                raise _not_found(letter_id) from error
        return dead_letter.decode(found.data or b"")

    async def _page(self, after: int, limit: int) -> tuple[list[DeadLetter], int | None]:
        """Return letters above a number, and where the next page starts, None after the last."""
        question = {
            "seq": after + 1,
            "next_by_subj": _SUBJECTS,
            "batch": limit,
            "max_bytes": _PAGE_BYTES,
        }
        with reported(self._bus, "list dead letters"):
            answers = await self._bus.request_many(
                _PAGES, json.dumps(question).encode(), _PAGE_TIMEOUT_S
            )
        *found, end = answers
        if status_of(end) == NO_RESPONDERS:
            raise NatsUnavailable("NATS does not answer for the dead letters")
        has_more = (end.headers or {}).get("Nats-Num-Pending", "0") != "0"
        last = int((end.headers or {}).get("Nats-Last-Sequence", "0"))
        return [_to_letter(each) for each in found], last if has_more else None


async def open_dead_letters(bus: Bus) -> DeadLetters:
    """Return the dead letters; their stream is made unless it is there.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    await ensure_stream(
        bus,
        api.StreamConfig(
            name=STREAM,
            subjects=[_SUBJECTS],
            # Full, it takes no more: then events wait, and in the end their emitters hear of it.
            discard=api.DiscardPolicy.NEW,
            max_bytes=MAX_STREAM_BYTES,
            max_age=MAX_AGE_S,
            allow_direct=True,
        ),
    )
    return DeadLetters(bus)


def _to_letter(message: Msg) -> DeadLetter:
    letter_id = (message.headers or {})["Nats-Sequence"]
    return dead_letter.show(dead_letter.decode(message.data), letter_id, with_body=False)


def _sequence(letter_id: str) -> int:
    if not letter_id.isascii() or not letter_id.isdecimal() or not 0 < int(letter_id) < 1 << 63:
        raise _not_found(letter_id)
    return int(letter_id)


def _not_found(letter_id: str) -> NotFound:
    return NotFound(f"there is no dead letter {letter_id}")
