"""Every limit and timeout of the HTTP adapter.

Some of them are settings of the process; ``of_settings`` copies those. The others have defaults
that suit a server behind a proxy as well as one that clients reach directly.
"""

from __future__ import annotations

import math
from typing import Self

import msgspec

from broker.runtime.settings import Settings
from broker.streams.bodies import LIMIT_BYTES, MEMORY_BYTES
from kubefox.stream import INLINE_BYTES

_OTHER_FILES = 256
"""Files that the process needs for anything else."""
_USED_CONNECTIONS = 0.9
"""Share of the connections that may have a request."""


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and timeouts of one HTTP adapter.

    Attributes:
        max_connections: Connections that are open at once; fewer if the process may not open as
            many files. At this number, a new connection takes the place of one without a request.
        max_requests: Requests of one deployment in one virtual environment that are open at once;
            those of all together are less than twice as many. Another one is answered with 503.
        max_streams: Streams of one deployment in one virtual environment, as ``max_requests``. A
            request whose body or response is a stream counts here only.
        max_target_bytes: Longest request target, in bytes. A longer one is answered with 431.
        max_headers_bytes: Names and values of all headers of a request or a response together, and
            of a single header. A request over it is answered with 431, a response with 500.
        max_headers: Number of headers of a request. A request with more is answered with 431.
        max_pipelined_requests: Requests of one connection that wait behind the one that is being
            answered. At this number, the connection is not read until half of them are answered,
            so that a client cannot fill the memory with requests.
        read_buffer_bytes: Part of a request body that the connection buffers. The socket is not
            read while the buffer holds more than twice as much.
        inline_body_bytes: Largest body that is sent in the same NATS message as its event. A
            larger one is sent as a stream.
        body_limit_bytes: Largest body that is buffered for a component that reads bodies whole. A
            larger one is answered with 413. A body that is passed on as a stream has no limit.
        body_memory_bytes: Memory for the buffered bodies of all requests together; those of one
            deployment in one virtual environment have half of it. A request that finds none left
            is answered with 503.
        idle_timeout_s: Time a connection may go without a complete request head. Common proxies
            close their idle connections after 60 s; a longer time leaves the closing to them, so
            that no proxy sends a request on a connection that is just being closed.
        body_timeout_s: Time in which a buffered body must arrive. A slower one is answered with
            408.
        min_bytes_per_s: Rate at which a client must send its body, and read its response, while
            the adapter waits for that. 0 requires only some bytes within ``stall_timeout_s`` and
            ``write_timeout_s``.
        stall_timeout_s: How long a client may pause while it sends its body, or be behind the
            minimum rate. Then it is answered with 408.
        stream_max_s: How long the body of a request or of a response may take as a stream.
        write_timeout_s: How long a client may not read its response, or be behind the minimum
            rate. Then the connection is aborted.
        write_progress_s: How often the sender of a streamed response is informed that a slow client
            still reads. It must be well below ``Settings.stream_idle_s``, after which the sender
            gives up.
        linger_timeout_s: Time in which the rest of a refused body is read and discarded. A client
            that is cut off while it sends does not see the response.
        drain_timeout_s: Time in which requests in flight must end when the adapter stops. Then
            their connections are aborted.
        idle_grace_s: Time that an idle connection stays open for one more request when the adapter
            stops and other processes share its port. The response then says that the connection
            ends; a connection that is closed without a word may lose a request.
        abort_timeout_s: Time in which the tasks of aborted connections must end.
        listen_backlog: Connections that the kernel holds until they are accepted.
    """

    max_connections: int = 16_000
    max_requests: int = 4_000
    max_streams: int = 2_000
    max_target_bytes: int = 16 * 1024
    max_headers_bytes: int = 64 * 1024
    max_headers: int = 256
    max_pipelined_requests: int = 32
    read_buffer_bytes: int = 64 * 1024
    inline_body_bytes: int = INLINE_BYTES
    body_limit_bytes: int = LIMIT_BYTES
    body_memory_bytes: int = MEMORY_BYTES
    idle_timeout_s: float = 75
    body_timeout_s: float = 300
    min_bytes_per_s: float = 240
    stall_timeout_s: float = 60
    stream_max_s: float = math.inf
    write_timeout_s: float = 60
    write_progress_s: float = 5
    linger_timeout_s: float = 10
    drain_timeout_s: float = 30
    idle_grace_s: float = 5
    abort_timeout_s: float = 1
    listen_backlog: int = 1024

    @classmethod
    def of_settings(cls, settings: Settings) -> Self:
        """Return the limits of a process with these settings."""
        return cls(
            max_connections=settings.http_connections,
            max_requests=settings.http_concurrency,
            max_streams=settings.http_streams,
            body_timeout_s=settings.body_timeout_s,
            min_bytes_per_s=settings.client_min_bytes_per_s,
            stall_timeout_s=settings.client_stall_s,
            write_timeout_s=settings.client_stall_s,
            stream_max_s=settings.stream_max_s or math.inf,
            body_limit_bytes=settings.body_limit_bytes,
            body_memory_bytes=settings.body_memory_bytes,
            drain_timeout_s=settings.drain_s,
            idle_grace_s=settings.http_idle_grace_s,
        )

    def for_files(self, files: int) -> Self:
        """Return the limits of a process that may open a number of files.

        The places for requests and streams are fewer than the connections: so among the open
        connections there are always some without a request, whose places new ones can take.
        """
        connections = max(1, min(self.max_connections, files - _OTHER_FILES))
        wanted = 2 * (self.max_requests + self.max_streams)
        ratio = min(1.0, _USED_CONNECTIONS * connections / wanted)
        return msgspec.structs.replace(
            self,
            max_connections=connections,
            max_requests=max(1, int(self.max_requests * ratio)),
            max_streams=max(1, int(self.max_streams * ratio)),
        )
