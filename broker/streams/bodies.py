"""Whole bodies in memory: a limit for each, and a limit for all of them together.

A body is held until its event is answered. Without a limit for all of them together, many slow
senders could fill the memory of the process: 200 bodies of 5 MiB took 1 GB. Without a share for
each lane, a deployment in a virtual environment, those of one would leave nothing for the others.
"""

from __future__ import annotations

from typing import Self

from broker.runtime.fair_share import FairShare, Lane
from broker.streams.incoming import IncomingStream
from kubefox.codec import Body
from kubefox.errors import BodyTooLarge, Overloaded
from kubefox.refusal import Refusal

LIMIT_BYTES = 5 << 20
MEMORY_BYTES = 256 << 20


class BodyMemory:
    """The memory for the bodies of all events that a process handles at the moment.

    Args:
        limit_bytes: Largest size of one body.
        memory_bytes: Largest size of all bodies together; at least twice ``limit_bytes`` applies.
            Those of one lane may have half of it.

    Attributes:
        limit_bytes: Largest size of one body.
        share: The memory that is in use.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES, memory_bytes: int = MEMORY_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.share = FairShare(max(memory_bytes // 2, limit_bytes))

    def buffer(self, lane: Lane = "") -> BufferedBody:
        """Return an empty body; it takes memory until its context ends.

        Args:
            lane: Deployment and virtual environment of its event.
        """
        return BufferedBody(self, lane)

    def check(self, size_bytes: int) -> None:
        """Raise BodyTooLarge if a body of this size is over the limit."""
        if size_bytes > self.limit_bytes:
            raise BodyTooLarge(f"the body is over the limit of {self.limit_bytes} bytes")


class BufferedBody:
    """A body that is collected in memory.

    Attributes:
        memory: Where it takes memory from.
        data: The bytes added so far.
    """

    __slots__ = ("_lane", "data", "memory")

    def __init__(self, memory: BodyMemory, lane: Lane) -> None:
        self.memory = memory
        self._lane = lane
        self.data = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.memory.share.release(self._lane, len(self.data))
        # The traceback of a failure may keep this object until the garbage collector runs, which
        # counts objects, not bytes. Callers that were given the data still have it.
        self.data = bytearray()

    def add(self, chunk: Body) -> None:
        """Append a chunk.

        Raises:
            BodyTooLarge: The body is over the limit.
            Overloaded: The other bodies leave no memory for the chunk.
        """
        size_bytes = len(chunk)
        self.memory.check(len(self.data) + size_bytes)
        if not self.memory.share.try_take(self._lane, size_bytes):
            raise Overloaded(
                "the bodies of other requests of the deployment and environment leave no memory "
                "for this one",
                refusal=Refusal.BODY_MEMORY,
            )
        self.data += chunk

    async def collect(self, stream: IncomingStream) -> bytes:
        """Read a stream to its end, close it, and return the whole body.

        Raises:
            BodyTooLarge: The body is over the limit; the rest of it is not sent.
            Overloaded: The other bodies leave no memory for it; the rest of it is not sent.
            FoxError: The stream broke.
        """
        with stream:
            async for chunk in stream:
                self.add(chunk)
        return bytes(self.data)
