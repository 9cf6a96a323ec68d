"""Client of the control API: one connection for each request, errors as the platform's own."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from fox.cli.support.given_token import GivenToken
from fox.cli.support.proof import ask_for_proof, provable
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


class ControlClient:
    """Client of one platform's control API.

    Args:
        url: Such as ``http://127.0.0.1:8081``; a path in it is a prefix.
        token: Sent with each request to a server that has proven to be the platform; None for
            none.
        tls: Of an ``https`` URL; None believes the authorities of the system.
        timeout_s: Longest time without data from the server, for one request.
        start_command: The command that starts the platform, for the error message.

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
    ) -> None:
        self._credentials = {"authorization": f"Bearer {token.text}"} if token else {}
        self._token_source = token.source if token else ""
        self._start_command = start_command
        self.url = url.rstrip("/")
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
            for line in response:
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
        connection = self._connection()
        try:
            connection.connect()
            if self._to_prove is not None:
                answer = ask_for_proof(connection, self._prefix, self._to_prove)
                self._check_adapter(answer.response)
                answer.check(self.url, self._token_source)
            connection.sock.settimeout(timeout_s)
            # A server that refuses a body answers before it has read the whole body.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, {**self._credentials, **headers})
            response = connection.getresponse()
            self._check_adapter(response)
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise self._error(response)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        timeout_s = self._timeout_s
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=self._tls
        )

    def _check_adapter(self, response: http.client.HTTPResponse) -> None:
        if ADAPTER_HEADER in response.headers:
            raise self._other_server("it is the port for the requests of end users")

    def _unreachable(self, error: Exception) -> NoPlatform:
        if isinstance(error, ssl.SSLError):
            return NoPlatform(f"the platform at {self.url} cannot be trusted: {reason_of(error)}")
        if isinstance(error, http.client.RemoteDisconnected) and self._tls is None:
            return NoPlatform(
                f"the platform at {self.url} cannot be reached: the server ended the connection; "
                "if it speaks TLS, use https://"
            )
        if isinstance(error, ConnectionRefusedError):
            return NoPlatform(
                f"no platform answers at {self.url}: start one with `{self._start_command}`"
            )
        if isinstance(error, TimeoutError):
            return NoPlatform(f"the platform at {self.url} does not answer in time")
        reason = str(error) or type(error).__name__
        return NoPlatform(f"the platform at {self.url} cannot be reached: {reason}")

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
        return from_detail(ErrorDetail(problem.code, detail, problem.hop))

    def _decoded(self, text: bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.MsgspecError as error:
            raise self._other_server(str(error)) from error

    def _other_server(self, reason: str) -> InternalError:
        return InternalError(f"the server at {self.url} is not a control API: {reason}")


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
