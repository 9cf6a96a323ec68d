"""All stream endpoints of one process, by subject.

Each endpoint has a subject of its own below the process's reply subjects. Only the other end
receives it, in the head of the event or response whose body the stream carries.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import Context

from broker.runtime.fair_share import FairShare, Lane
from broker.runtime.tokens import new_token
from broker.streams.endpoint import Carrier, StreamEndpoint
from broker.streams.incoming import IncomingStream
from broker.streams.outgoing import OutgoingStream
from broker.streams.transit import UNUSED_S, GrantedStream, Transit
from kubefox import stream as protocol
from kubefox import subjects
from kubefox.errors import InvalidEvent, NatsUnavailable, StreamBroken
from kubefox.stream import MIN_WINDOW_BYTES, WINDOW_BYTES, FrameKind

IDLE_TIMEOUT_S = 60.0
MOST_CHECKED = 128
"""Endpoints whose progress is checked in one turn of the loop: each may send a ping."""
PING_AFTER_S = 2.0
# nats-server disconnects a client for which 64 MiB wait (`max_pending`). While this process is busy
# for a moment, the full windows of all its streams may wait there.
WINDOWS_BYTES = 32 << 20
_RESET = bytes([FrameKind.RESET])


class StreamRegistry:
    """All stream endpoints of one process; made within the loop.

    Args:
        process_id: Unique id of the process; the subjects are below its reply subjects.
        carrier: Sends frames.

    Attributes:
        carrier: Sends frames.
        idle_timeout_s: How long a stream may go without progress.
        ping_after_s: Silence of the other end after which an endpoint sends a ping.
        loop: Event loop of the endpoints.
        prefix: Prefix of the endpoints' subjects.
    """

    def __init__(self, process_id: str, carrier: Carrier) -> None:
        self.loop = asyncio.get_running_loop()
        self.carrier = carrier
        self.idle_timeout_s = IDLE_TIMEOUT_S
        self.ping_after_s = PING_AFTER_S
        self.prefix = subjects.stream_prefix(process_id)
        self._endpoints: dict[str, StreamEndpoint] = {}
        self._windows = FairShare(WINDOWS_BYTES // 2)
        self._transit = Transit()
        self._transit_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Subjects of the endpoints that the check of the progress has still to look at.
        self._unchecked: list[str] = []
        self._sending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def now_s(self) -> float:
        """The loop's time."""
        return self.loop.time()

    def open_outgoing(
        self, component: str = "", *, open_timeout_s: float | None = None
    ) -> OutgoingStream:
        """Return a new endpoint that sends.

        Args:
            component: Subject of the receiving component; the stream breaks when its last pod dies.
            open_timeout_s: How long the receiver may take to begin to read; None means
                ``idle_timeout_s``.
        """
        return OutgoingStream(self, component, open_timeout_s)

    def open_incoming(self, peer: str, component: str = "", *, lane: Lane = "") -> IncomingStream:
        """Return a new endpoint that receives.

        Args:
            peer: Subject of the sending endpoint, from the head of its event or response.
            component: Subject of the sending component; the stream breaks when its last pod dies.
            lane: Deployment and virtual environment; the memory of windows is shared by them.

        Raises:
            InvalidEvent: ``peer`` is not the subject of a stream. Credit would be sent to it,
                whatever it is.
        """
        if not subjects.is_stream(peer):
            raise InvalidEvent("the subject that names the body is not the subject of a stream")
        return IncomingStream(self, peer, component, lane)

    def receive_frame(self, subject: str, payload: bytes, reply: str) -> None:
        """Pass one frame to its endpoint; see ``broker.nats.parser.MessageCallback``."""
        endpoint = self._endpoints.get(subject)
        if endpoint is not None:
            endpoint.receive(payload, reply)
        elif reply and payload[:1] != _RESET:
            # This end is closed, and the other end does not know it yet.
            gone = StreamBroken("the other end of the stream does not exist")
            self.send_soon(reply, protocol.encode_reset(gone))

    def fail_unreachable(self, subject: str) -> None:
        """Break the stream of an endpoint whose frame had no receiver."""
        endpoint = self._endpoints.get(subject)
        if endpoint is not None:
            endpoint.peer_gone()

    def fail_subject(self, subject: str) -> None:
        """Break all streams with a component whose last pod died.

        A body that no pod has begun to read does not break: its request fails, or is sent again.
        """
        lost = [
            found for found in self._endpoints.values() if found.component == subject and found.peer
        ]
        for endpoint in lost:
            endpoint.peer_gone()

    def fail_peers(self, prefix: str) -> None:
        """Break all streams whose other end has a subject with ``prefix``: its process died."""
        lost = [found for found in self._endpoints.values() if found.peer.startswith(prefix)]
        for endpoint in lost:
            endpoint.peer_gone()

    def fail_all(self) -> None:
        """Break all streams: the connection is lost, and frames with it."""
        for endpoint in tuple(self._endpoints.values()):
            endpoint.fail(NatsUnavailable("the connection to NATS was lost"), notify=False)

    def register(self, endpoint: StreamEndpoint) -> str:
        """Return a new subject whose frames the endpoint receives from now on."""
        # Random, because every process may publish below the reply subjects of every other.
        subject = self.prefix + new_token()
        self._endpoints[subject] = endpoint
        if self._timer is None:
            self._schedule_check()
        return subject

    def unregister(self, endpoint: StreamEndpoint) -> None:
        """Stop passing frames to an endpoint that has ended, and free its window."""
        endpoint.ended_s = self.now_s
        was_open = self._endpoints.pop(endpoint.subject, None) is not None
        if was_open and isinstance(endpoint, IncomingStream):
            self._transit.forget(endpoint, endpoint.ended_s)
            self._windows.release(endpoint.lane, endpoint.reserved_bytes)

    def reserve_window(self, lane: Lane) -> int:
        """Return the memory for the window of a new endpoint; less when its lane has many.

        Returns:
            Bytes that the endpoint gives back at its end. With 0 it has the smallest window.
        """
        wanted_bytes = min(WINDOW_BYTES, self._windows.room(lane) // 2)
        # The smallest windows beyond the share of a lane take nothing from other lanes.
        is_reserved = wanted_bytes >= MIN_WINDOW_BYTES and self._windows.try_take(
            lane, wanted_bytes
        )
        return wanted_bytes if is_reserved else 0

    def ask_credit(self, stream: GrantedStream) -> None:
        """Give a stream credit, now or in its turn; see ``Transit``."""
        self._transit.ask(stream, self.now_s)
        if self._transit_timer is None and self._transit.is_used:
            self._transit_timer = self.loop.call_later(UNUSED_S, self._free_unused)

    def note_arrival(self, stream: GrantedStream, size_bytes: int) -> None:
        """Take into account that a chunk has arrived."""
        self._transit.arrive(stream, size_bytes, self.now_s)

    def _free_unused(self) -> None:
        self._transit_timer = None
        if self._transit.free_unused(self.now_s):
            self._transit_timer = self.loop.call_later(0, self._free_unused)
        elif self._transit.is_used:
            self._transit_timer = self.loop.call_later(UNUSED_S, self._free_unused)

    def send_soon(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a frame now, or as soon as the connection accepts it."""
        if not self.carrier.send(subject, payload, reply):
            sending = self._publish(subject, payload, reply)
            # Not in the context of the event whose stream it is.
            task = self.loop.create_task(sending, context=Context())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _publish(self, subject: str, payload: bytes, reply: str) -> None:
        # Without a connection every stream is broken already.
        with contextlib.suppress(NatsUnavailable):
            await self.carrier.publish(subject, payload, reply)

    def _schedule_check(self) -> None:
        delay_s = min(self.ping_after_s, self.idle_timeout_s / 4)
        self._timer = self.loop.call_later(delay_s, self._check_progress)

    def _check_progress(self) -> None:
        """Check all endpoints, some in each turn of the loop."""
        self._unchecked = self._unchecked or list(self._endpoints)
        for subject in self._unchecked[-MOST_CHECKED:]:
            if endpoint := self._endpoints.get(subject):
                endpoint.check_progress(self.idle_timeout_s)
        del self._unchecked[-MOST_CHECKED:]
        self._timer = None
        if self._unchecked:
            self._timer = self.loop.call_later(0, self._check_progress)
        elif self._endpoints:
            self._schedule_check()
