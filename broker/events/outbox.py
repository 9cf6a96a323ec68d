"""The outbox: a stream that keeps emitted events until their component has handled them.

An event is acknowledged when the server has stored it; the embedded server has then written it to
disk. A full stream refuses new events, and the emitter gets the error. An acknowledged event is
never dropped because of age or size. The process that delivers events creates the stream; it does
not change the limits of an existing stream.
"""

from __future__ import annotations

from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.jetstream import translated_errors
from broker.nats.missing_storage import find_or_make
from broker.nats.replicas import create_replicated
from broker.nats.stream_publisher import PublishError, StreamPublisher
from kubefox import subjects
from kubefox.errors import BodyTooLarge, FoxError, NatsUnavailable, Overloaded
from kubefox.refusal import Refusal

STREAM = "kubefox-events"
MAX_EVENT_BYTES = 512 << 10
"""Limit of head and body together: 256 events in flight take at most 128 MiB of a process."""
MAX_STREAM_BYTES = 256 << 20
DUPLICATES_S = 300.0
"""Covers all attempts of an event (235 s by default), so events emitted again are recognised."""
STORE_S = 5.0

_HEADER_BYTES = 1 << 10
_SUBJECTS = "emit.*.*.*"
_TOO_LARGE = 10054
_FULL = (10047, 10077)


class Outbox:
    """Stores emitted events.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        self._publisher = StreamPublisher(bus)

    async def store(
        self, subject: str, frame: bytes, *, deduplication_id: str = "", timeout_s: float = STORE_S
    ) -> bool:
        """Store an event, and return once it is acknowledged.

        Args:
            subject: Subject of the event, see ``kubefox.subjects.emitted``.
            frame: Frame of a ``kubefox.event.Event``.
            deduplication_id: A second event with this id within ``DUPLICATES_S`` is not stored.
            timeout_s: How long to wait for the acknowledgement.

        Returns:
            True if the event was stored, False if it is a duplicate.

        Raises:
            BodyTooLarge: Head and body are over the limit.
            Overloaded: The stream is full.
            NatsUnavailable: The stream does not exist; or NATS does not answer, and the event may
                or may not be stored.
        """
        if len(frame) > MAX_EVENT_BYTES:
            raise too_large_error(len(frame))
        stored = await self._publisher.publish(
            subject, frame, message_id=deduplication_id, timeout_s=min(timeout_s, STORE_S)
        )
        if stored is None:
            raise NatsUnavailable(
                f"the event was not stored: stream {STREAM} does not exist. Start the emit adapter "
                "with `fox up` or `fox serve adapters`"
            )
        if stored.error is not None:
            raise _refusal_error(stored.error, subject, len(frame))
        return not stored.duplicate


async def ensure_stream(bus: Bus, config: api.StreamConfig) -> None:
    """Make a stream if it is missing, or wait for control to make it.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    jetstream = bus.jetstream()
    with translated_errors(bus, f"open stream {config.name}"):
        await find_or_make(
            bus,
            f"stream {config.name}",
            lambda: jetstream.stream_info(config.name or ""),
            lambda: create_replicated(
                bus, lambda replicas: jetstream.add_stream(config, num_replicas=replicas)
            ),
        )


async def ensure_outbox(bus: Bus) -> None:
    """Make the stream of emitted events if it is missing, or wait for control to make it.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    await ensure_stream(
        bus,
        api.StreamConfig(
            name=STREAM,
            subjects=[_SUBJECTS],
            # A handled event is removed at once, so the stream holds the waiting events only.
            retention=api.RetentionPolicy.WORK_QUEUE,
            discard=api.DiscardPolicy.NEW,
            max_bytes=MAX_STREAM_BYTES,
            max_msg_size=MAX_EVENT_BYTES + _HEADER_BYTES,
            duplicate_window=DUPLICATES_S,
        ),
    )


async def pending_events(bus: Bus, digest: str) -> int:
    """Return how many events of a component hash wait or are in flight.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    with translated_errors(bus, f"look at stream {STREAM}"):
        try:
            info = await bus.jetstream().stream_info(STREAM, subjects.emitted_to(digest))
        except NotFoundError:
            return 0
    return sum((info.state.subjects or {}).values())


async def hashes_with_events(bus: Bus) -> frozenset[str]:
    """Return the component hashes for which events wait or are in flight.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    with translated_errors(bus, f"look at stream {STREAM}"):
        try:
            info = await bus.jetstream().stream_info(STREAM, _SUBJECTS)
        except NotFoundError:
            return frozenset()
    return frozenset(
        subjects.version_of(subjects.target_of(subject))[2] for subject in info.state.subjects or {}
    )


def _refusal_error(error: PublishError, subject: str, size_bytes: int) -> FoxError:
    if error.err_code == _TOO_LARGE:
        return too_large_error(size_bytes)
    hop = subjects.hop(subjects.target_of(subject))
    reason = error.description or f"code {error.err_code}"
    if error.err_code in _FULL:
        return Overloaded(
            f"the event for {hop} was not stored, because too many events wait: {reason}",
            hop=hop,
            refusal=Refusal.EVENTS_FULL,
        )
    return NatsUnavailable(f"the event for {hop} was not stored: {reason}", hop=hop)


def too_large_error(size_bytes: int) -> BodyTooLarge:
    """Return the error for an event over the limit."""
    return BodyTooLarge(f"the event has {size_bytes} bytes: the limit is {MAX_EVENT_BYTES}")
