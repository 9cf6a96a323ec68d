"""The requests of a flood, and the number of its connections."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Manner(StrEnum):
    """The behaviour of a connection after its request."""

    REPEAT = "repeat"
    """It reads the answer, pauses if that is no 200, and sends the request again."""
    HOLD = "hold"
    """It reads whatever arrives, and sends nothing more."""
    LEAVE = "leave"
    """It is closed without an answer, and the next one is opened."""


class FloodJob(msgspec.Struct, frozen=True, kw_only=True):
    """A flood.

    Attributes:
        name: Description in the report.
        port: Port of the server on loopback.
        request: Bytes that each connection sends.
        body_bytes: Size of the body that follows them.
        connections: Number of connections.
        manner: Behaviour of a connection after its request.
        stay_s: With ``LEAVE``, time after which a connection is closed.
        holds_ms: How long one request holds the event loop of its pod.
    """

    name: str
    port: int
    request: str
    connections: int
    manner: Manner
    body_bytes: int = 0
    stay_s: float = 0
    holds_ms: float = 0
