"""Where emitted events go: a stream that keeps them until their component has handled them.

What is stored is acknowledged, and on the disk of the embedded server. A full stream refuses what
is new, so that its emitter hears of it; nothing that was acknowledged is ever dropped by age or
size. The stream is made by who delivers from it; limits that an operator has changed stay.
"""

from __future__ import annotations

from nats.js import api
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from broker.bus import Bus
from broker.jetstream import reported
from model import subjects
from model.errors import BodyTooLarge, FoxError, NatsUnavailable, Overloaded

STREAM = "kubefox-events"
MAX_EVENT_BYTES = 512 << 10
"""Head and body: 256 deliveries in hand take at most 128 MiB of a process."""
MAX_STREAM_BYTES = 256 << 20
DUPLICATES_S = 300.0
"""As long as all attempts of an event take (235 s by default): what it emits again is known."""
STORE_S = 5.0

_HEADER_BYTES = 1 << 10
_TOO_LARGE = 10054
_FULL = (10047, 10077)
_DEDUPLICATION = api.Header.MSG_ID.value


class Outbox:
    """Stores events.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        """Keep the connection; nothing is sent."""
        self._bus = bus
        self._jetstream = bus.jetstream()

    async def store(
        self, subject: str, frame: bytes, *, deduplication_id: str = "", timeout_s: float = STORE_S
    ) -> bool:
        """Return once an event is stored.

        Args:
            subject: See ``model.subjects.emitted``.
            frame: Of ``model.event.Event``.
            deduplication_id: An event of the same id within ``DUPLICATES_S`` is this one.
            timeout_s: How long to wait for the acknowledgement.

        Returns:
            Whether it is new; False when an event of its id was there.

        Raises:
            BodyTooLarge: Head and body are over the limit.
            Overloaded: As many events wait as may.
            NatsUnavailable: NATS does not answer, and whether it was stored is not known; or
                nobody has ever delivered events here.
        """
        if len(frame) > MAX_EVENT_BYTES:
            raise _too_large(len(frame))
        headers = {_DEDUPLICATION: deduplication_id} if deduplication_id else None
        with reported(self._bus, "store an event"):
            try:
                ack = await self._jetstream.publish(
                    subject, frame, headers=headers, timeout=min(timeout_s, STORE_S)
                )
            except APIError as error:
                raise _refusal(error, subject, len(frame)) from error
            except NoStreamResponseError as error:
                raise NatsUnavailable("nothing here stores events: no emit adapter ran") from error
        return not ack.duplicate


async def ensure_stream(bus: Bus, config: api.StreamConfig) -> None:
    """Make a stream unless it is there.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    jetstream = bus.jetstream()
    with reported(bus, f"open stream {config.name}"):
        try:
            await jetstream.stream_info(config.name or "")
        except NotFoundError:
            await jetstream.add_stream(config)


async def ensure_outbox(bus: Bus) -> None:
    """Make the stream of events unless it is there.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    await ensure_stream(
        bus,
        api.StreamConfig(
            name=STREAM,
            subjects=["emit.*.*.*"],
            # What was handled goes at once, so what is there is what waits.
            retention=api.RetentionPolicy.WORK_QUEUE,
            discard=api.DiscardPolicy.NEW,
            max_bytes=MAX_STREAM_BYTES,
            max_msg_size=MAX_EVENT_BYTES + _HEADER_BYTES,
            duplicate_window=DUPLICATES_S,
        ),
    )


async def events_for(bus: Bus, digest: str) -> int:
    """Return how many events wait, or are in hand, for the component versions of a hash.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    with reported(bus, f"look at stream {STREAM}"):
        try:
            info = await bus.jetstream().stream_info(STREAM, subjects.emitted_to(digest))
        except NotFoundError:
            return 0
    return sum((info.state.subjects or {}).values())


def _refusal(error: APIError, subject: str, size_bytes: int) -> FoxError:
    if error.err_code == _TOO_LARGE:
        return _too_large(size_bytes)
    hop = subjects.hop(subjects.target_of(subject))
    reason = error.description or f"code {error.err_code}"
    if error.err_code in _FULL:
        return Overloaded(f"too many events wait, the one for {hop} is refused: {reason}", hop=hop)
    return NatsUnavailable(f"the event for {hop} is refused: {reason}", hop=hop)


def _too_large(size_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"event of {size_bytes} bytes is over the limit of {MAX_EVENT_BYTES}")
