"""Whole bodies in memory: what one may take, and all that are in hand together.

A body is held until its event is answered. Without a bound on all of them together, any number of
slow senders could fill the memory of the process: 200 bodies of 5 MiB took 1 GB.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from broker.stream import Incoming
from model.codec import Body
from model.errors import BodyTooLarge, Overloaded

LIMIT_BYTES = 5 << 20
MEMORY_BYTES = 256 << 20


class Bodies:
    """What the bodies of all events in hand may take.

    Args:
        limit_bytes: The largest one.
        memory_bytes: All together.

    Attributes:
        limit_bytes: The largest one.
        free_bytes: What is left.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES, memory_bytes: int = MEMORY_BYTES) -> None:
        """Start with none."""
        self.limit_bytes = limit_bytes
        self.free_bytes = memory_bytes

    def hold(self) -> HeldBody:
        """Return the place of one body; it is held while its context lasts."""
        return HeldBody(self)

    def check(self, size_bytes: int) -> None:
        """Raise BodyTooLarge for a body of this size that is over the limit."""
        if size_bytes > self.limit_bytes:
            raise BodyTooLarge(f"the body is over the limit of {self.limit_bytes} bytes")


class HeldBody:
    """One body, as far as it has come.

    Attributes:
        data: All of it that was added.
    """

    __slots__ = ("_bodies", "data")

    def __init__(self, bodies: Bodies) -> None:
        """Hold nothing yet; see ``Bodies.hold``."""
        self._bodies = bodies
        self.data = bytearray()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let it go."""
        self._bodies.free_bytes += len(self.data)
        # A failure may keep this object by its frames until the garbage collector comes, which
        # counts objects only. Whoever was given the data has it still.
        self.data = bytearray()

    def add(self, chunk: Body) -> None:
        """Take some more of it.

        Raises:
            BodyTooLarge: It is over the limit.
            Overloaded: The bodies in hand leave no room for it.
        """
        size_bytes = len(chunk)
        self._bodies.check(len(self.data) + size_bytes)
        if size_bytes > self._bodies.free_bytes:
            raise Overloaded("the bodies of other requests leave no room for this one")
        self._bodies.free_bytes -= size_bytes
        self.data += chunk

    async def collect(self, stream: Incoming) -> bytes:
        """Return the whole body that comes as a stream, which is closed then.

        Raises:
            BodyTooLarge: As in ``add``, like Overloaded; what is over is not sent.
            FoxError: The stream broke.
        """
        with stream:
            async for chunk in stream:
                self.add(chunk)
        return bytes(self.data)
