"""Writes the body of a response in parts, as fast as the client reads it, and in turns."""

from __future__ import annotations

from functools import partial

from adapters.http.aiohttp_internals import ParsingProtocol
from adapters.http.framing import Framing
from adapters.http.limits import HttpLimits
from adapters.http.reader_watch import ReaderWatch
from adapters.http.turns import Turns
from broker.runtime.fair_share import Lane
from broker.streams.incoming import IncomingStream
from kubefox.codec import Body


class StreamWriter:
    """Writes to one client.

    Args:
        client: Connection to the client.
        limits: Of the adapter.
        turns: Those of the adapter.
        lane: Deployment and virtual environment of the response.
    """

    def __init__(
        self, client: ParsingProtocol, limits: HttpLimits, turns: Turns, lane: Lane
    ) -> None:
        self._client, self._limits = client, limits
        self._turns, self._lane = turns, lane

    async def write(self, chunks: IncomingStream, framing: Framing) -> None:
        """Write a whole body.

        Raises:
            ConnectionError: The client is not connected any more.
            FoxError: The body broke off, or the client reads too slowly.
        """
        client, limits, turns = self._client, self._limits, self._turns
        chunks.wake_in_turn = partial(turns.call, self._lane)
        watch = ReaderWatch(
            client.open_transport(), limits, chunks.report_progress, limits.stream_max_s
        )
        try:
            with watch:
                async for chunk in chunks:
                    if not (chunks.has_waited or turns.take(self._lane)):
                        await turns.wait(self._lane)
                    self._write_parts(framing.parts(chunk), watch)
                    if client.writing_paused:
                        await client.wait_writable()
                self._write_parts(framing.end(), watch)
        except ConnectionError:
            if watch.failure is not None:
                raise watch.failure from None
            raise

    def _write_parts(self, parts: tuple[Body, ...], watch: ReaderWatch) -> None:
        transport = self._client.open_transport()
        if parts:
            transport.writelines(parts)
            watch.written_bytes += sum(map(len, parts))
