"""The few calls of the Kubernetes API that the driver needs, over aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
import msgspec

from broker.runtime.client_sockets import open_connector
from kubefox.decoding import DECODE_ERRORS
from pods.kubernetes import deep_json
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.pace import Pace
from pods.kubernetes.throttle import Throttle, retry_after_s

FIELD_MANAGER = "kubefox"
"""Owner of the fields that the driver applies, as ``metadata.managedFields`` shows it."""

CALL_S = 30.0
WATCH_S = 300
"""How long a watch lasts before it is made again; a connection that died unnoticed is found."""

PART_BYTES = 64 << 10
"""The largest part of a stream that is handed on at once."""

_TOKEN_S = 60.0
_APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

Object = dict[str, Any]
"""A Kubernetes object as the API sends it."""


class ApiError(Exception):
    """The API refused a call, or did not answer.

    Args:
        status: HTTP status; 0 if there was no answer.
        message: The API's own message.
        retry_after_s: Time after which the API asks for the same call again; None if it does not.
    """

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def is_away(self) -> bool:
        """Whether the same call may succeed later: no answer, too many calls, or a fault there."""
        return self.status in {0, 429} or self.status >= 500


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a watch.

    Attributes:
        type: ``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK`` or ``ERROR``.
        object: The object after it, or the status of an error.
    """

    type: str
    object: msgspec.Raw


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata of a list."""

    resource_version: str


class ObjectList(msgspec.Struct, frozen=True):
    """The objects of one collection, and the version of the data at which they were read."""

    metadata: ListMeta
    items: list[msgspec.Raw]


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    code: int = 0


_decode_status = msgspec.json.Decoder(_Status).decode
_decode_list = msgspec.json.Decoder(ObjectList).decode
_decode_list_meta = msgspec.json.Decoder(ListMeta).decode
_decode_change = msgspec.json.Decoder(Change).decode
_decode_type = msgspec.json.Decoder(str).decode
_decode_object = msgspec.json.Decoder(Object).decode
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class Api:
    """The API of one cluster; made by ``open_api``.

    When the API answers that it has too many calls, all calls wait as long as it asks for. A call
    is repeated then, for up to ``CALL_S``.

    Args:
        session: Connections to use.
        cluster: The cluster.
        writes: Limits the rate of writes; None for no limit.
    """

    def __init__(
        self, session: aiohttp.ClientSession, cluster: Cluster, writes: Pace | None = None
    ) -> None:
        self._session = session
        self._cluster = cluster
        self._writes = writes
        self._throttle = Throttle(cluster.server)
        self._token = ""
        self._token_until_s = 0.0

    @property
    def server(self) -> str:
        """URL of the API."""
        return self._cluster.server

    async def get(self, path: str) -> Object:
        """Return one object.

        Raises:
            ApiError: It does not exist (404), or cannot be read.
        """
        return self._read(await self._call("GET", path), _decode_object)

    async def list(self, path: str, selectors: Mapping[str, str]) -> ObjectList:
        """Return the objects of a collection; each may be nested too deeply to be decoded.

        Args:
            path: Of the collection.
            selectors: ``labelSelector`` and ``fieldSelector``.

        Raises:
            ApiError: They cannot be read.
        """
        return self._read(await self._call("GET", path, parameters=selectors), _read_list)

    async def apply(self, path: str, manifest: Object) -> bytes:
        """Make the fields of an object those of ``manifest``, by server-side apply.

        Returns the JSON of the whole object.

        Fields that others own and this manifest does not name stay; those that it names become its
        own.

        Raises:
            ApiError: The API refuses it.
        """
        parameters = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call("PATCH", path, manifest, parameters, _APPLY)

    async def create(self, path: str, manifest: Object) -> Object:
        """Create an object in a collection, and return it.

        Raises:
            ApiError: It exists (409), or the API refuses it.
        """
        return self._read(await self._call("POST", path, manifest), _decode_object)

    async def patch(self, path: str, changes: Object, kind: str = MERGE) -> bytes:
        """Change fields of an object, and return its JSON.

        Args:
            path: Of the object, or of its ``status``.
            changes: The fields.
            kind: ``MERGE`` or ``STRATEGIC``.

        Raises:
            ApiError: It does not exist (404), or the API refuses the change.
        """
        return await self._call("PATCH", path, changes, content_type=kind)

    async def delete(self, path: str, *, uid: str = "", grace_s: int | None = None) -> None:
        """Delete an object, and what it owns in the background. One that is gone is no error.

        Args:
            path: Of the object.
            uid: Delete it only if this is its uid; empty for any.
            grace_s: Grace time of a pod, instead of its own.

        Raises:
            ApiError: The API refuses it.
        """
        options: Object = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        try:
            await self._call("DELETE", path, options)
        except ApiError as error:
            # A conflict: another object has its name now.
            if error.status != HTTPStatus.NOT_FOUND and not (
                uid and error.status == HTTPStatus.CONFLICT
            ):
                raise

    async def watch(
        self, path: str, selectors: Mapping[str, str], version: str
    ) -> AsyncGenerator[Change, None]:
        """Yield the changes of a collection after ``version``, until the API ends the watch.

        The object of each may be nested too deeply to be decoded.

        Args:
            path: Of the collection.
            selectors: ``labelSelector`` and ``fieldSelector``.
            version: ``resourceVersion`` of a list or of a change.

        Raises:
            ApiError: The watch is refused, or ended without its last line.
        """
        parameters = {
            **selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }
        timeout = aiohttp.ClientTimeout(sock_connect=CALL_S, sock_read=WATCH_S + CALL_S)
        async with self._request("GET", path, params=parameters, timeout=timeout) as response:
            rest = b""
            try:
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in filter(None, lines):
                        yield _read_change(line)
            finally:
                _abort(response)

    async def stream(self, path: str, parameters: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the body of an answer in parts, as they come.

        One that is silent for ``WATCH_S`` ends: a connection that died unnoticed looks so too.

        Raises:
            ApiError: It is refused, or breaks off.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=CALL_S, sock_read=WATCH_S)
        try:
            async with self._request("GET", path, params=parameters, timeout=timeout) as response:
                try:
                    async for part in response.content.iter_chunked(PART_BYTES):
                        yield part
                finally:
                    _abort(response)
        except ApiError as error:
            if not isinstance(error.__cause__, aiohttp.SocketTimeoutError):
                raise

    async def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        if self._writes is not None and method != "GET":
            await self._writes.take()
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + CALL_S
        while True:
            try:
                async with self._request(
                    method,
                    path,
                    params=parameters,
                    data=None if body is None else _encode(body),
                    headers={"Content-Type": content_type},
                    timeout=aiohttp.ClientTimeout(total=CALL_S),
                ) as response:
                    return await response.read()
            except ApiError as error:
                wait_s = error.retry_after_s
                if wait_s is None or loop.time() + wait_s > give_up_s:
                    raise

    def _read(self, body: bytes, read: Callable[[bytes], T]) -> T:
        try:
            return read(body)
        except DECODE_ERRORS as error:
            raise self._invalid(error) from error

    def _invalid(self, error: Exception) -> ApiError:
        return ApiError(0, f"{self._cluster.server} sends no valid answer: {error}")

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        await self._throttle.wait()
        token = await self._current_token()
        login = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._session.request(
                method, self._cluster.server + path, headers={**(headers or {}), **login}, **options
            ) as response:
                if not response.ok:
                    raise self._refusal(response, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{self._cluster.server} does not answer: {error!r}") from error
        except DECODE_ERRORS as error:
            raise self._invalid(error) from error

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
        wait_s = retry_after_s(response.status, response.headers)
        if wait_s is not None:
            self._throttle.hold(wait_s)
        try:
            message = _decode_status(body).message
        except DECODE_ERRORS:
            message = ""
        message = message or f"the API answers with status {response.status}"
        return ApiError(response.status, message, wait_s)

    async def _current_token(self) -> str:
        if self._cluster.token_file is None:
            return self._cluster.token
        if time.monotonic() >= self._token_until_s:
            try:
                self._token = await asyncio.to_thread(self._cluster.read_token)
            except (OSError, UnicodeDecodeError) as error:
                raise ApiError(0, f"the token of the cluster cannot be read: {error}") from error
            self._token_until_s = time.monotonic() + _TOKEN_S
        return self._token


def _read_list(body: bytes) -> ObjectList:
    try:
        return _decode_list(body)
    except RecursionError:
        found = deep_json.members(body)
        items = deep_json.elements(found.get("items", b""))
        return ObjectList(metadata=_decode_list_meta(found.get("metadata", b"")), items=items)


def _read_change(line: bytes) -> Change:
    try:
        return _decode_change(line)
    except RecursionError:
        found = deep_json.members(line)
        return Change(type=_decode_type(found.get("type", b"")), object=found["object"])


def _abort(response: aiohttp.ClientResponse) -> None:
    """Close the connection of a response that has not ended.

    An orderly end of TLS waits for the server. The event loop may close before.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


@contextlib.asynccontextmanager
async def open_api(cluster: Cluster, writes: Pace | None = None) -> AsyncIterator[Api]:
    """Open connections to the API of a cluster; see ``Api``."""
    tls = await asyncio.to_thread(cluster.tls)
    async with aiohttp.ClientSession(connector=open_connector(tls)) as session:
        yield Api(session, cluster, writes)
