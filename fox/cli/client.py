"""Calls the control API: a connection for each request, failures as the platform's own errors."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from model.errors import (
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
# Every answer of the HTTP adapter has it, and none of the control API.
ADAPTER_HEADER = "kubefox-event-id"

_NOTHING = object()
_NO_QUERY: Mapping[str, object] = {}
_NO_HEADERS: Mapping[str, str] = {}


class NoPlatform(Unavailable):
    """Nothing answers where the platform should be."""


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of problem details that matter here."""

    code: str = ""
    detail: str = ""
    hop: str = ""
    problems: tuple[Problem, ...] = ()


class Control:
    """One platform's control API.

    Args:
        url: Such as ``http://127.0.0.1:8081``; a path in it is a prefix.
        timeout_s: How long one answer may keep silent.
        start: The command that starts a platform there, for who finds none.

    Raises:
        InvalidRequest: It is not an HTTP URL.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, start: str = "fox up") -> None:
        """Take the URL apart; nothing is connected yet."""
        self._start = start
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidRequest(f"control URL {url!r} is not valid: expected http://HOST:PORT")
        self._is_https = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path

    def get(self, *path: str, **query: object) -> Any:
        """Return what lies under ``path``; its parts are escaped, a None in the query left out."""
        return self._call("GET", self._target(path, query))

    def post(self, *path: str, body: object) -> Any:
        """Ask for something to be done, and return the answer."""
        return self._call("POST", self._target(path), body)

    def put(self, *path: str, body: object, **query: object) -> Any:
        """Store an object, and return what is stored; the query is as in ``get``."""
        return self._call("PUT", self._target(path, query), body)

    def delete(self, *path: str, **query: object) -> None:
        """Remove an object."""
        self._call("DELETE", self._target(path, query))

    def upload(self, *path: str, content: bytes, sent: Callable[[int], None]) -> None:
        """Store bytes; ``sent`` hears the size of every piece that is on its way."""

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(content), CHUNK_BYTES):
                piece = content[start : start + CHUNK_BYTES]
                yield piece
                sent(len(piece))

        headers = {"content-type": "application/gzip", "content-length": str(len(content))}
        with self._answer("PUT", self._target(path), pieces(), headers):
            pass

    def lines(self, *path: str, **query: object) -> Iterator[Any]:
        """Yield each line of an NDJSON answer as it comes, however long that takes."""
        with self._answer("GET", self._target(path, query), timeout_s=None) as answer:
            for line in answer:
                if line.strip():
                    yield self._decoded(line)

    def _call(self, method: str, target: str, body: object = _NOTHING) -> Any:
        headers, content = {}, None
        if body is not _NOTHING:
            headers, content = {"content-type": "application/json"}, _encoded(body)
        with self._answer(method, target, content, headers, timeout_s=self._timeout_s) as answer:
            text = answer.read()
        return self._decoded(text) if text else None

    def _target(self, path: tuple[str, ...], query: Mapping[str, object] = _NO_QUERY) -> str:
        given = {key: value for key, value in query.items() if value is not None}
        with _utf8():
            target = "/".join([self._prefix, *(quote(part, safe="") for part in path)])
            return f"{target}?{urlencode(given, doseq=True)}" if given else target

    @contextmanager
    def _answer(
        self,
        method: str,
        target: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        timeout_s: float | None = TIMEOUT_S,
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._is_https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            # A server that refuses a body answers before it has read it all.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, headers)
            answer = connection.getresponse()
            if ADAPTER_HEADER in answer.headers:
                raise self._stranger("it takes the requests of end users")
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise self._failure(answer)
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _unreachable(self, error: Exception) -> NoPlatform:
        if isinstance(error, ConnectionRefusedError):
            return NoPlatform(f"no platform answers at {self.url}: start one with `{self._start}`")
        if isinstance(error, TimeoutError):
            return NoPlatform(f"the platform at {self.url} does not answer in time")
        reason = str(error) or type(error).__name__
        return NoPlatform(f"the platform at {self.url} cannot be reached: {reason}")

    def _failure(self, answer: http.client.HTTPResponse) -> FoxError:
        if answer.headers.get_content_type() != PROBLEM_JSON:
            return self._stranger(f"it answered {answer.status} {answer.reason}")
        try:
            failure = msgspec.json.decode(answer.read(), type=_Failure)
        except msgspec.MsgspecError as error:
            return self._stranger(str(error))
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return ProblemsFound(failure.detail, failure.problems)
        return from_detail(ErrorDetail(failure.code, failure.detail, failure.hop))

    def _decoded(self, text: bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.MsgspecError as error:
            raise self._stranger(str(error)) from error

    def _stranger(self, reason: str) -> InternalError:
        return InternalError(f"what answers at {self.url} is no control API: {reason}")


def _encoded(body: object) -> bytes:
    with _utf8():
        return msgspec.json.encode(body)


@contextmanager
def _utf8() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{error.object!r} is not UTF-8") from error
