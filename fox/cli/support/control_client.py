"""Client of the control API: one connection for each request, errors as the platform's own.

Through a tunnel, a request that may be repeated is sent again if the tunnel leads nowhere any more,
as when its pod was replaced.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from fox.cli.support.given_token import GivenToken
from fox.cli.support.proof import ask_for_proof, provable
from fox.cli.support.route import Endpoint, Route, TunnelConnection
from fox.cli.support.tls import given_context, reason_of
from kubefox.errors import (
    ContinueExpired,
    ErrorDetail,
    FoxError,
    InternalError,
    InvalidRequest,
    Problem,
    ProblemsFound,
    Unavailable,
    from_detail,
)

TIMEOUT_S = 30.0
CHUNK_BYTES = 64 << 10
PROBLEM_JSON = "application/problem+json"
# Every response of the HTTP adapter has this header, and no response of the control API.
ADAPTER_HEADER = "kubefox-event-id"

_NO_BODY = object()
_NO_QUERY: Mapping[str, object] = {}
_NO_HEADERS: Mapping[str, str] = {}


class NoPlatform(Unavailable):
    """No platform answers at the expected address."""


class _ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an error response that the client reads."""

    code: str = ""
    detail: str = ""
    hop: str = ""
    problems: tuple[Problem, ...] = ()
    continue_: str = msgspec.field(default="", name="continue")


class _Request(NamedTuple):
    """A request, as ``http.client`` takes it."""

    method: str
    target: str
    body: bytes | Iterator[bytes] | None
    headers: Mapping[str, str]

    def may_repeat(self, *, is_sent: bool) -> bool:
        """Return whether it does no harm to send it again."""
        return not is_sent or self.method == "GET"


class ControlClient:
    """Client of one platform's control API.

    Args:
        url: Such as ``http://127.0.0.1:8081``; a path in it is a prefix.
        token: Sent with each request to a server that has proven to be the platform; None for
            none.
        tls: Of an ``https`` URL; None believes the authorities of the system.
        timeout_s: Longest time without data from the server, for one request.
        start_command: The command that starts the platform, for the error message.
        route: Leads to the control API if the URL does not; ``url`` is that of its endpoint.

    Raises:
        InvalidRequest: ``url`` is not an HTTP URL, or the token must not be sent there.
    """

    def __init__(
        self,
        url: str,
        *,
        token: GivenToken | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
        start_command: str = "fox up",
        route: Route | None = None,
    ) -> None:
        self._route = route
        self._credentials = {"authorization": f"Bearer {token.text}"} if token else {}
        self._token_source = token.source if token else ""
        self._start_command = start_command
        self._token_command = ""
        self.url = self._place = url.rstrip("/")
        self._timeout_s = timeout_s
        try:
            parts = urlsplit(self.url)
            self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path
        except ValueError as error:
            raise _not_valid(url) from error
        if parts.scheme not in {"http", "https"} or not self._host:
            raise _not_valid(url)
        self._tls = (tls or given_context()) if parts.scheme == "https" else None
        self._to_prove = provable(token, self.url, self._host) if token and not self._tls else None

    @property
    def has_tunnel(self) -> bool:
        """Whether requests go through a tunnel."""
        return self._route is not None

    @property
    def place(self) -> str:
        """The URL, and where that is if a tunnel leads there; for messages."""
        return self._place

    def with_timeout(self, timeout_s: float) -> ControlClient:
        """Return a client for the same platform with another time limit."""
        changed = copy(self)
        changed._timeout_s = timeout_s  # noqa: SLF001 - of the same class
        return changed

    def get(self, *path: str, **query: object) -> Any:
        """Return the resource at ``path``.

        Args:
            path: Segments of the path; they are escaped.
            query: Parameters; those with the value None are left out.
        """
        return self._call("GET", self._target(path, query))

    def post(self, *path: str, body: object) -> Any:
        """Start an operation, and return its result."""
        return self._call("POST", self._target(path), body)

    def put(self, *path: str, body: object, **query: object) -> Any:
        """Store an object, and return the stored object; the query is as in ``get``."""
        return self._call("PUT", self._target(path, query), body)

    def delete(self, *path: str, **query: object) -> None:
        """Delete an object."""
        self._call("DELETE", self._target(path, query))

    def upload(self, *path: str, content: bytes, on_sent: Callable[[int], None]) -> None:
        """Store bytes; ``on_sent`` is called with the size of each chunk that was sent."""

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(content), CHUNK_BYTES):
                chunk = content[start : start + CHUNK_BYTES]
                yield chunk
                on_sent(len(chunk))

        headers = {"content-type": "application/gzip", "content-length": str(len(content))}
        with self._response("PUT", self._target(path), chunks(), headers):
            pass

    def lines(self, *path: str, **query: object) -> Iterator[Any]:
        """Yield each line of an NDJSON response when it arrives; there is no timeout."""
        with self._response("GET", self._target(path, query), timeout_s=None) as response:
            for line in _lines_of(response):
                if line.strip():
                    yield self._decoded(line)

    def _call(self, method: str, target: str, body: object = _NO_BODY) -> Any:
        headers, content = {}, None
        if body is not _NO_BODY:
            headers, content = {"content-type": "application/json"}, _encoded(body)
        with self._response(
            method, target, content, headers, timeout_s=self._timeout_s
        ) as response:
            text = response.read()
        return self._decoded(text) if text else None

    def _target(self, path: tuple[str, ...], query: Mapping[str, object] = _NO_QUERY) -> str:
        given = {key: value for key, value in query.items() if value is not None}
        with _encoding_errors_reported():
            target = "/".join([self._prefix, *(quote(part, safe="") for part in path)])
            return f"{target}?{urlencode(given, doseq=True)}" if given else target

    @contextmanager
    def _response(
        self,
        method: str,
        target: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        timeout_s: float | None = TIMEOUT_S,
    ) -> Iterator[http.client.HTTPResponse]:
        connection, response = self._answered(_Request(method, target, body, headers), timeout_s)
        try:
            self._check_adapter(response)
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise self._error(response)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _answered(
        self, request: _Request, timeout_s: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request; return its response, and the connection on which it arrives."""
        attempts = 1 if self._route is None else 2
        while True:
            attempts -= 1
            endpoint = self._endpoint()
            connection, is_sent = self._connection(endpoint), False
            try:
                self._establish(connection, endpoint)
                is_sent = True
                return connection, self._response_to(request, connection, timeout_s)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                may_repeat = attempts and request.may_repeat(is_sent=is_sent)
                if not (self._lost_tunnel(error) and may_repeat):
                    raise self._unreachable(error) from error
            except BaseException:
                connection.close()
                raise

    def _endpoint(self) -> Endpoint | None:
        """Return the end of the tunnel; None without a route."""
        if self._route is None:
            return None
        endpoint = self._route.endpoint()
        if urlsplit(endpoint.url).scheme != urlsplit(self.url).scheme:
            raise NoPlatform(
                f"the platform at {endpoint.place} was at {self.url} before: run the command again"
            )
        self._place, self._token_command = endpoint.place, endpoint.token_command
        return endpoint

    def _connection(self, endpoint: Endpoint | None) -> http.client.HTTPConnection:
        timeout_s = self._timeout_s
        if endpoint is not None:
            parts = urlsplit(endpoint.url)
            host, port = parts.hostname or "", parts.port
            return TunnelConnection(host, port, endpoint.entrance, timeout_s, self._tls)
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=self._tls
        )

    def _establish(self, connection: http.client.HTTPConnection, endpoint: Endpoint | None) -> None:
        """Connect to a server that has proven to be the platform, if a token is to be sent."""
        connection.connect()
        if self._to_prove is not None:
            arrival = endpoint.arrival if endpoint else None
            answer = ask_for_proof(connection, self._prefix, self._to_prove, arrival)
            self._check_adapter(answer.response)
            answer.check(self._place, self._token_source)

    def _response_to(
        self, request: _Request, connection: http.client.HTTPConnection, timeout_s: float | None
    ) -> http.client.HTTPResponse:
        connection.sock.settimeout(timeout_s)
        headers = {**self._credentials, **request.headers}
        # A server that refuses a body answers before it has read the whole body.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(request.method, request.target, request.body, headers)
        return connection.getresponse()

    def _lost_tunnel(self, error: Exception) -> bool:
        """End a tunnel on which a request has failed; return whether another one may help."""
        if self._route is None:
            return False
        self._route.renew()
        return not isinstance(error, TimeoutError | ssl.SSLCertVerificationError)

    def _check_adapter(self, response: http.client.HTTPResponse) -> None:
        if ADAPTER_HEADER in response.headers:
            raise self._other_server("it is the port for the requests of end users")

    def _unreachable(self, error: Exception) -> NoPlatform:
        is_lost = self._route is not None and not isinstance(error, ssl.SSLCertVerificationError)
        if isinstance(error, ssl.SSLError) and not is_lost:
            return NoPlatform(
                f"the platform at {self._place} cannot be trusted: {reason_of(error)}"
            )
        if isinstance(error, TimeoutError):
            return NoPlatform(f"the platform at {self._place} does not answer in time")
        reason = str(error) or type(error).__name__
        if self._route is not None:
            said = self._route.fault
            return NoPlatform(
                f"the connection to the platform at {self._place} was lost: {reason}"
                + (f"; kubectl says: {said}" if said else "")
            )
        if isinstance(error, http.client.RemoteDisconnected) and self._tls is None:
            return NoPlatform(
                f"the platform at {self._place} cannot be reached: the server ended the "
                "connection; if it speaks TLS, use https://"
            )
        if isinstance(error, ConnectionRefusedError):
            return NoPlatform(
                f"no platform answers at {self._place}: start one with `{self._start_command}`"
            )
        return NoPlatform(f"the platform at {self._place} cannot be reached: {reason}")

    def _error(self, response: http.client.HTTPResponse) -> FoxError:
        if response.headers.get_content_type() != PROBLEM_JSON:
            return self._other_server(f"it answered {response.status} {response.reason}")
        try:
            problem = msgspec.json.decode(response.read(), type=_ProblemDetails)
        except msgspec.MsgspecError as error:
            return self._other_server(str(error))
        if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return ProblemsFound(problem.detail, problem.problems)
        if problem.code == ContinueExpired.code:
            return ContinueExpired(problem.detail, restart=problem.continue_)
        detail = problem.detail
        if response.status == HTTPStatus.UNAUTHORIZED and self._token_source:
            detail = f"{detail}; the token is that in {self._token_source}"
        elif response.status == HTTPStatus.UNAUTHORIZED and self._token_command:
            detail = f"{detail}; `{self._token_command}` makes a token in the cluster"
        return from_detail(ErrorDetail(problem.code, detail, problem.hop))

    def _decoded(self, text: bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.MsgspecError as error:
            raise self._other_server(str(error)) from error

    def _other_server(self, reason: str) -> InternalError:
        return InternalError(f"the server at {self._place} is not a control API: {reason}")


def _lines_of(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the lines of a response; iterating over it would hide that it is not complete."""
    rest = b""
    while received := response.read1(CHUNK_BYTES):
        *lines, rest = (rest + received).split(b"\n")
        yield from lines
    yield rest


def _not_valid(url: str) -> InvalidRequest:
    return InvalidRequest(f"control URL {url!r} is not valid: expected http://HOST:PORT")


def _encoded(body: object) -> bytes:
    with _encoding_errors_reported():
        return msgspec.json.encode(body)


@contextmanager
def _encoding_errors_reported() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{error.object!r} is not UTF-8") from error
