"""The load of one pod: the events that it handles, and how long an event waits to be read."""

from __future__ import annotations

import msgspec

from broker.nats.bus import Bus
from broker.runtime.platform_clock import clock
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import DeadlineExceeded, NatsUnavailable, NoPodReady

ANSWER_S = 1.0


class PodLoad(msgspec.Struct, frozen=True, array_like=True):
    """A pod's answer on ``pods.load.<pod>``.

    Attributes:
        in_flight: Events that it handles now.
        waited_s: How long the request waited until the pod read it, as an event would have.
    """

    in_flight: int
    waited_s: float = 0


_encode_load = msgspec.msgpack.Encoder().encode
_decode_load = msgspec.msgpack.Decoder(PodLoad).decode
_encode_time = msgspec.msgpack.Encoder().encode
_decode_time = msgspec.msgpack.Decoder(float).decode


def encode_load(request: bytes, in_flight: int) -> bytes:
    """Return a pod's answer.

    Args:
        request: The Unix time at which it was sent, in MessagePack.
        in_flight: Events that the pod handles now.
    """
    waited_s = max(0.0, clock.now_s() - _decode_time(request))
    return _encode_load(PodLoad(in_flight, waited_s))


async def fetch_load(bus: Bus, pod: str, timeout_s: float = ANSWER_S) -> PodLoad | None:
    """Return the load of a pod; None if that is unknown: it is gone, or NATS is away.

    A pod that does not answer in time is busy: it has waited for so long, and its events in flight
    are unknown.
    """
    try:
        request = _encode_time(clock.now_s())
        return _decode_load(await bus.request(subjects.pod_load(pod), request, timeout_s))
    except DeadlineExceeded:
        return PodLoad(0, timeout_s)
    except (NoPodReady, NatsUnavailable, *DECODE_ERRORS):
        return None
