"""Why an event was refused: it was not handled, because of a limit or because its receiver ends."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """The reasons, as ``kubefox_refused_total`` and ``fox stats`` show them."""

    QUEUE_FULL = "queue_full"
    """Too many events of its deployment and virtual environment are in flight or wait."""
    TOO_LATE = "too_late"
    """It would wait for too long, or its answer would come after its deadline."""
    REQUESTS = "requests"
    """Too many requests of its deployment and virtual environment are open in the HTTP adapter."""
    STREAMS = "streams"
    """Too many streams of its deployment and virtual environment are open."""
    BODY_MEMORY = "body_memory"
    """The bodies of other events leave no memory for its body."""
    BODY_TOO_LARGE = "body_too_large"
    """Its body is over the limit of one body."""
    BODY_TOO_SLOW = "body_too_slow"
    """Its body, or the next part of it, did not arrive in time."""
    CLIENT_TOO_SLOW = "client_too_slow"
    """Its client read the response too slowly."""
    HEADERS_TOO_LARGE = "headers_too_large"
    """Its path, query, headers or cookies are over a limit."""
    MATCH_WORK = "match_work"
    """It has more text for the regular expressions of the rules than may be matched."""
    EVENTS_FULL = "events_full"
    """Too many emitted events wait to be delivered."""
    DRAINING = "draining"
    """Its receiver is shutting down."""
