"""Follow the objects of one collection: list them, then watch, and list again after a gap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from kubefox.decoding import DECODE_ERRORS
from pods.kubernetes import deep_json
from pods.kubernetes.api import Api, ApiError, Change

logger = logging.getLogger(__name__)

MIN_RETRY_S = 0.2
MAX_RETRY_S = 10.0
"""The longest pause; a watch that lasts as long has succeeded, and the next pause is short."""

_GONE = 410


class Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The metadata of an object, as far as it is needed.

    Attributes:
        name: Its name.
        uid: Of this object alone; another one of its name has another.
        resource_version: Changes with the object.
        deletion_timestamp: Set once it is being deleted.
        labels: Its labels.
        annotations: Its annotations.
    """

    name: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Named(Protocol):
    """An object with metadata."""

    @property
    def metadata(self) -> Meta:
        """Its metadata."""
        ...


class _Bookmark(msgspec.Struct, frozen=True):
    metadata: Meta


class _Unreadable(msgspec.Struct, frozen=True):
    """An object that cannot be decoded as a whole."""

    metadata: Meta
    fault: str


class _Refusal(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


_decode_bookmark = msgspec.json.Decoder(_Bookmark).decode
_decode_meta = msgspec.json.Decoder(Meta).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode

T = TypeVar("T", bound=Named)


class Following(Generic[T]):
    """Calls back with each change of a collection's objects.

    An object that cannot be decoded counts as unchanged, and does not hide the others.

    Args:
        api: The API.
        path: Of the collection.
        selectors: ``labelSelector`` and ``fieldSelector``.
        kind: Type of the objects.
        on_object: Called with each object that is there, is new or has changed.
        on_deleted: Called with the last state of an object that is gone.

    Attributes:
        listed: Set once the objects are known.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        selectors: Mapping[str, str],
        kind: type[T],
        on_object: Callable[[T], None],
        on_deleted: Callable[[T], None],
    ) -> None:
        self._api = api
        self._path = path
        self._selectors = selectors
        self._decode = msgspec.json.Decoder(kind).decode
        self._on_object = on_object
        self._on_deleted = on_deleted
        self._known: dict[str, T] = {}
        self._version = ""
        self._fault = ""
        self._unreadable: dict[str, str] = {}
        self.listed = asyncio.Event()

    @property
    def fault(self) -> str:
        """Why the collection, or one of its objects, cannot be followed now; or empty."""
        return self._fault or next(iter(self._unreadable.values()), "")

    async def run(self) -> None:
        """Follow until cancelled. While the API is away, the objects stay as they were."""
        loop, retry_s = asyncio.get_running_loop(), MIN_RETRY_S
        while True:
            began_s = loop.time()
            await self._follow_once()
            if loop.time() - began_s >= MAX_RETRY_S:
                retry_s = MIN_RETRY_S
            # Many followers must not come back all at once.
            await asyncio.sleep(retry_s * random.uniform(0.5, 1))  # noqa: S311
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    async def _follow_once(self) -> None:
        """Follow until the watch ends or fails."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except ApiError as error:
            if error.status == _GONE:
                self._version = ""
                return
            self._fault = str(error)
            logger.warning("%s cannot be followed, retrying: %s", self._path, error)
        except Exception as error:
            # What was not taken over is in the next list.
            self._version = ""
            self._fault = repr(error)
            logger.exception("%s cannot be followed, retrying", self._path)

    async def _list(self) -> None:
        found = await self._api.list(self._path, self._selectors)
        objects = {each.metadata.uid: each for each in map(self._read, found.items)}
        for uid in self._known.keys() - objects.keys():
            self._on_deleted(self._known.pop(uid))
        for uid in self._unreadable.keys() - objects.keys():
            del self._unreadable[uid]
        for each in objects.values():
            self._put(each)
        self._version = found.metadata.resource_version
        self.listed.set()
        self._fault = ""

    async def _watch(self) -> None:
        watching = self._api.watch(self._path, self._selectors, self._version)
        async with contextlib.aclosing(watching) as changes:
            async for change in changes:
                self._follow(change)

    def _follow(self, change: Change) -> None:
        self._fault = ""
        if change.type == "ERROR":
            refusal = _decode_refusal(change.object)
            raise ApiError(refusal.code, refusal.message)
        if change.type == "BOOKMARK":
            self._version = _decode_bookmark(change.object).metadata.resource_version
            return
        each = self._read(change.object)
        if change.type == "DELETED":
            self._remove(each)
        else:
            self._put(each)
        self._version = each.metadata.resource_version

    def _read(self, text: msgspec.Raw) -> T | _Unreadable:
        try:
            return self._decode(text)
        except DECODE_ERRORS as error:
            metadata = _decode_meta(deep_json.members(text).get("metadata", b""))
            fault = f"{self._path}/{metadata.name} cannot be read: {error}"
            return _Unreadable(metadata, fault)

    def _put(self, each: T | _Unreadable) -> None:
        uid = each.metadata.uid
        if isinstance(each, _Unreadable):
            if self._unreadable.get(uid) != each.fault:
                logger.warning("%s", each.fault)
            self._unreadable[uid] = each.fault
            return
        self._unreadable.pop(uid, None)
        known = self._known.get(uid)
        self._known[uid] = each
        if known is None or known.metadata.resource_version != each.metadata.resource_version:
            self._on_object(each)

    def _remove(self, each: T | _Unreadable) -> None:
        uid = each.metadata.uid
        self._unreadable.pop(uid, None)
        known = self._known.pop(uid, None)
        if not isinstance(each, _Unreadable):
            self._on_deleted(each)
        elif known is not None:
            self._on_deleted(known)
