"""Follow the objects of one collection: list them, then watch, and list again after a gap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from pods.kubernetes.api import Api, ApiError, Change

logger = logging.getLogger(__name__)

MIN_RETRY_S = 0.2
MAX_RETRY_S = 10.0
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


class _Refusal(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


_decode_bookmark = msgspec.json.Decoder(_Bookmark).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode

T = TypeVar("T", bound=Named)


class Following(Generic[T]):
    """Calls back with each change of a collection's objects.

    Args:
        api: The API.
        path: Of the collection.
        selectors: ``labelSelector`` and ``fieldSelector``.
        kind: Type of the objects.
        on_object: Called with each object that is there, is new or has changed.
        on_deleted: Called with the last state of an object that is gone.

    Attributes:
        listed: Set once the objects are known.
        fault: Why the collection cannot be followed now, or empty.
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
        self.listed = asyncio.Event()
        self.fault = ""

    async def run(self) -> None:
        """Follow until cancelled. While the API is away, the objects stay as they were."""
        retry_s = MIN_RETRY_S
        while True:
            try:
                if not self._version:
                    await self._list()
                    retry_s = MIN_RETRY_S
                await self._watch()
                retry_s = MIN_RETRY_S
            except ApiError as error:
                if error.status == _GONE:
                    self._version = ""
                    continue
                self.fault = str(error)
                logger.warning("%s cannot be followed, retrying: %s", self._path, error)
                # Many followers must not come back all at once.
                await asyncio.sleep(retry_s * random.uniform(0.5, 1))  # noqa: S311
                retry_s = min(2 * retry_s, MAX_RETRY_S)

    async def _list(self) -> None:
        found = await self._api.list(self._path, self._selectors)
        objects = {each.metadata.uid: each for each in map(self._decode, found.items)}
        for uid in self._known.keys() - objects.keys():
            self._on_deleted(self._known.pop(uid))
        for each in objects.values():
            self._put(each)
        self._version = found.metadata.resource_version
        self.listed.set()
        self.fault = ""

    async def _watch(self) -> None:
        watching = self._api.watch(self._path, self._selectors, self._version)
        async with contextlib.aclosing(watching) as changes:
            async for change in changes:
                self._follow(change)

    def _follow(self, change: Change) -> None:
        self.fault = ""
        if change.type == "ERROR":
            refusal = _decode_refusal(change.object)
            raise ApiError(refusal.code, refusal.message)
        if change.type == "BOOKMARK":
            self._version = _decode_bookmark(change.object).metadata.resource_version
            return
        each = self._decode(change.object)
        self._version = each.metadata.resource_version
        if change.type == "DELETED":
            self._known.pop(each.metadata.uid, None)
            self._on_deleted(each)
        else:
            self._put(each)

    def _put(self, each: T) -> None:
        known = self._known.get(each.metadata.uid)
        self._known[each.metadata.uid] = each
        if known is None or known.metadata.resource_version != each.metadata.resource_version:
            self._on_object(each)
