"""aiohttp's server, with what it refuses by itself told in the platform's form.

A request that its parser cannot read never reaches a handler: aiohttp answers in plain text, with
400 for too large headers too, and logs a traceback for every scanner that comes by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from adapters.http.codec import MAX_HEADERS_BYTES
from model.errors import FoxError, HeadersTooLarge, InternalError, InvalidRequest

MAX_TARGET_BYTES = 16 * 1024
MAX_HEADERS = 256
IDLE_S = 75.0
"""How long a connection may go without a whole request head; proxies let go of theirs after 60."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refuse = Callable[[FoxError], web.StreamResponse]


class Server(web.Server):
    """Makes the protocol of each connection.

    Args:
        handle: Answers a request; it never raises, but for a connection that broke.
        refuse: Makes the answer to what is no request.
    """

    def __init__(self, handle: Handle, refuse: Refuse) -> None:
        """Prepare; a runner listens."""
        super().__init__(handle)
        self.refuse = refuse

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Protocol(self)


class _Protocol(web.RequestHandler):
    def __init__(self, server: Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S,
            access_log=None,  # type: ignore[arg-type]
            # A body is the component's: what it says of its encoding must stay true.
            auto_decompress=False,
            max_line_size=MAX_TARGET_BYTES,
            max_field_size=MAX_HEADERS_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._refuse = server.refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what aiohttp refuses; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun, no other one can follow")
        response = self._refuse(_to_error(exc))
        response.force_close()
        return response


def _to_error(cause: BaseException | None) -> FoxError:
    match cause:
        case LineTooLong():
            return HeadersTooLarge(
                f"the request's target is over {MAX_TARGET_BYTES} bytes, "
                f"or one of its headers over {MAX_HEADERS_BYTES}"
            )
        case HttpProcessingError() if "Too many headers" in cause.message:
            return HeadersTooLarge(f"the request has more than {MAX_HEADERS} headers")
        case HttpProcessingError():
            # The lines below the first repeat the client's bytes.
            reason = cause.message.partition("\n")[0].rstrip(":")
            return InvalidRequest(f"the request cannot be read: {reason}")
        case _:
            return InternalError("the request could not be answered")
