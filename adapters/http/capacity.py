"""The places of one adapter, shared fairly by deployments and virtual environments.

A request has a place from its routing until its response is written. While its body, or that of its
response, is a stream, it has one of the places for streams instead. So requests and streams of one
deployment leave places for those of all others, and its streams leave places for its requests.
"""

from __future__ import annotations

from typing import Protocol

from adapters.http.limits import HttpLimits
from broker.runtime.fair_share import FairShare, Lane
from kubefox.errors import Overloaded
from kubefox.refusal import Refusal


class PlaceHolder(Protocol):
    """A request that takes a place. An object for each place would cost half as much again.

    Attributes:
        lane: Deployment and virtual environment, if there is a place.
        share: The kind of the place; None without one.
    """

    lane: Lane
    share: FairShare | None


class Capacity:
    """The places of one adapter.

    Args:
        limits: Of the adapter.

    Attributes:
        requests: Those of requests.
        streams: Those of streams.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.requests = FairShare(limits.max_requests)
        self.streams = FairShare(limits.max_streams)

    def admit(self, request: PlaceHolder, lane: Lane) -> None:
        """Give a request a place.

        Raises:
            Overloaded: Its lane has none left.
        """
        if not self.requests.try_take(lane):
            raise Overloaded(
                f"the HTTP adapter has {self.requests.of(lane)} open requests of this deployment "
                "and environment",
                refusal=Refusal.REQUESTS,
            )
        request.lane, request.share = lane, self.requests

    def begin_stream(self, request: PlaceHolder) -> None:
        """Give a request a place for a stream instead; it keeps the one that it has.

        Raises:
            Overloaded: Its lane has none left.
        """
        if request.share is self.streams:
            return
        if not self.streams.try_take(request.lane):
            raise Overloaded(
                f"the HTTP adapter has {self.streams.of(request.lane)} open streams of this "
                "deployment and environment",
                refusal=Refusal.STREAMS,
            )
        release(request)
        request.share = self.streams


def release(request: PlaceHolder) -> None:
    """Take the place of a request back, if it has one."""
    if request.share is not None:
        request.share.release(request.lane)
        request.share = None
