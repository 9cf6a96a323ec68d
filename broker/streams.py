"""All ends of streams in one process, by subject, and who tells them that something is wrong.

Each end has a subject of its own below the process's inbox, which only its partner is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Protocol

from broker import stream
from broker.stream import IDLE_S, Half, Incoming, Outgoing
from model import stream as protocol
from model import subjects
from model.errors import InvalidEvent, NatsUnavailable, StreamBroken
from model.stream import MIN_WINDOW_BYTES, WINDOW_BYTES, Kind

# nats-server cuts off a client for which 64 MiB wait (`max_pending`): a process that is busy for a
# moment may have all windows of its streams waiting there.
WINDOWS_BYTES = 32 << 20
_RESET = bytes([Kind.RESET])


class Carrier(Protocol):
    """Sends frames; ``broker.bus.Bus`` is the real one."""

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Send one message without waiting, or return False: it takes ``publish``."""

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send one message."""


class Streams:
    """All ends of streams in one process.

    Args:
        process_id: Of the process; below its inbox lie the subjects.
        carrier: Sends frames.

    Attributes:
        carrier: As it was given.
        idle_s: How long a stream may go without progress.
        loop: That it is made in.
        prefix: Of the subjects.
    """

    def __init__(self, process_id: str, carrier: Carrier) -> None:
        """Start without any."""
        self.loop = asyncio.get_running_loop()
        self.carrier = carrier
        self.idle_s = IDLE_S
        self.prefix = subjects.stream_prefix(process_id)
        self._halves: dict[str, Half] = {}
        self._free_bytes = WINDOWS_BYTES
        self._timer: asyncio.TimerHandle | None = None
        self._last_number = 0
        self._posting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many ends are open."""
        return len(self._halves)

    @property
    def now_s(self) -> float:
        """The loop's time."""
        return self.loop.time()

    def send(self, component: str = "", *, open_s: float | None = None) -> Outgoing:
        """Return a new end to send with.

        Args:
            component: Subject of who will receive: it breaks when the last pod there dies.
            open_s: How long the receiver may take to begin; None leaves it to ``idle_s``.
        """
        return Outgoing(self, component, open_s)

    def receive(self, peer: str, component: str = "") -> Incoming:
        """Return a new end to receive with.

        Args:
            peer: Subject of the sender, from the head of its event or response.
            component: Subject of the component that sends, as in ``send``.

        Raises:
            InvalidEvent: That is no end of a stream. Frames would be sent wherever it says.
        """
        if not subjects.is_stream(peer):
            raise InvalidEvent("the sender of a body is named by what is no stream")
        return Incoming(self, peer, component)

    def take(self, subject: str, payload: bytes, reply: str) -> None:
        """Take one frame from the bus; see ``broker.bus.Taker``."""
        half = self._halves.get(subject)
        if half is not None:
            half.receive(payload, reply)
        elif reply and payload[:1] != _RESET:
            # Its sender does not know yet that this end is closed, or has missed it.
            gone = StreamBroken("the other end of a stream knows nothing of it")
            self.post(reply, protocol.encode_reset(gone))

    def refuse(self, subject: str) -> None:
        """Break the stream whose frame reached nobody."""
        half = self._halves.get(subject)
        if half is not None:
            half.gone()

    def fail_subject(self, subject: str) -> None:
        """Break all streams with a component whose last pod died."""
        for half in [each for each in self._halves.values() if each.component == subject]:
            half.gone()

    def fail_all(self) -> None:
        """Break all streams: the connection is gone, and frames are lost."""
        for half in tuple(self._halves.values()):
            half.fail(NatsUnavailable("the connection to NATS was lost"), tells=False)

    def enter(self, half: Half) -> str:
        """Return a subject for an end, which gets what is sent there from now on."""
        self._last_number += 1
        # Random, because every process may publish below every inbox.
        subject = f"{self.prefix}{self._last_number}-{secrets.token_hex(8)}"
        self._halves[subject] = half
        if self._timer is None:
            self._look_later()
        return subject

    def leave(self, half: Half) -> None:
        """Forget an end, which is over."""
        half.ended_s = self.now_s
        if self._halves.pop(half.subject, None) is not None and isinstance(half, Incoming):
            self._free_bytes += half.window_bytes

    def reserve(self) -> int:
        """Return the window of a new end: with many streams each gets less."""
        window_bytes = max(MIN_WINDOW_BYTES, min(WINDOW_BYTES, self._free_bytes // 2))
        self._free_bytes -= window_bytes
        return window_bytes

    def post(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a frame now, or as soon as the connection takes it."""
        if not self.carrier.send(subject, payload, reply):
            task = self.loop.create_task(self._publish(subject, payload, reply))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    async def _publish(self, subject: str, payload: bytes, reply: str) -> None:
        # Without a connection every stream is broken already.
        with contextlib.suppress(NatsUnavailable):
            await self.carrier.publish(subject, payload, reply)

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(min(stream.LOOK_S, self.idle_s / 4), self._look)

    def _look(self) -> None:
        self._timer = None
        for half in tuple(self._halves.values()):
            half.look(self.idle_s)
        if self._halves:
            self._look_later()
