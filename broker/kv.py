"""A JetStream KV bucket as plain data needs it: made by its first write, read a page at a time.

Unlike the control plane's store nobody watches it. A deleted key leaves nothing behind: its
delete marker is removed again, so a bucket is as large as its entries and a page holds no gaps.
"""

from __future__ import annotations

import contextlib
import json
from contextlib import AbstractContextManager
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js import api
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from broker.bus import NO_RESPONDERS, Bus, status_of
from broker.jetstream import WRONG_LAST_SEQUENCE, reported
from model.errors import NatsUnavailable, RevisionConflict

_OPERATION = "KV-Operation"
_DELETED = "DEL"
_CREATE_ATTEMPTS = 3
_READ_ATTEMPTS = 3
_PAGE_TIMEOUT_S = 5


class KvEntry(NamedTuple):
    """One key with its value; the revision is the stream's sequence."""

    key: str
    value: bytes
    revision: int


class KvBucket:
    """One bucket, whether it exists yet or not.

    Every method raises NatsUnavailable when NATS does not answer; whether a write was done is not
    known then.

    Args:
        bus: Connection to use.
        name: Of the bucket.
        ttl_s: Age at which entries go; None keeps them.
    """

    def __init__(self, bus: Bus, name: str, *, ttl_s: float | None = None) -> None:
        """Name the bucket; nothing is sent."""
        self._bus = bus
        self._jetstream = bus.jetstream()
        self._name = name
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._ttl_s = ttl_s

    async def get(self, key: str) -> KvEntry | None:
        """Return the entry, or None."""
        with self._reported(f"read {key}"):
            found = await self._last(key)
        if found is None or _is_marker(found.headers):
            return None
        return KvEntry(key, found.data or b"", found.seq or 0)

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        """Write an entry and return its new revision.

        Args:
            key: Legal KV key.
            value: At most what one message holds.
            revision: The entry must have it; 0 means that there is none, None accepts any.

        Raises:
            RevisionConflict: It has another one.
        """
        with self._reported(f"write {key}"):
            if revision == 0:
                return await self._create(key, value)
            return await self._publish(key, value, _expecting(revision))

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete an entry; one that does not exist is no error.

        Args:
            key: Legal KV key.
            revision: As in ``put``.

        Raises:
            RevisionConflict: It has another one.
        """
        with self._reported(f"delete {key}"):
            marker = await self._publish(key, b"", {**_expecting(revision), _OPERATION: _DELETED})
            # The marker hides the entry. It is purged by its own sequence, so what somebody has
            # written meanwhile stays.
            await self._jetstream.purge_stream(
                self._stream, seq=marker + 1, subject=f"{self._prefix}{key}"
            )

    async def page(
        self, pattern: str, after: int, *, max_entries: int, max_bytes: int
    ) -> tuple[list[KvEntry], int | None]:
        """Return entries in order of revision, and where the next page starts.

        The server filters and reads in one request (a direct-get batch).

        Args:
            pattern: Keys to return, with wildcards.
            after: Revision above which to start.
            max_entries: Most entries to return.
            max_bytes: After so many bytes of values no more are returned.

        Returns:
            The entries, and the ``after`` of the next page; None when this was the last.
        """
        question = {
            "seq": after + 1,
            "next_by_subj": f"{self._prefix}{pattern}",
            "batch": max_entries,
            "max_bytes": max_bytes,
        }
        with self._reported(f"list {pattern}"):
            return self._to_page(await self._read_batch(json.dumps(question).encode()))

    def _to_page(self, messages: list[Msg]) -> tuple[list[KvEntry], int | None]:
        *found, end = messages
        entries = [self._to_entry(each) for each in found if not _is_marker(each.headers)]
        return entries, _next_page(end)

    def _to_entry(self, message: Msg) -> KvEntry:
        headers = message.headers or {}
        key = headers["Nats-Subject"].removeprefix(self._prefix)
        return KvEntry(key, message.data, int(headers["Nats-Sequence"]))

    async def _create(self, key: str, value: bytes) -> int:
        last = 0
        for _ in range(_CREATE_ATTEMPTS):
            with contextlib.suppress(RevisionConflict):
                return await self._publish(key, value, _expecting(last))
            # Either it exists, or a delete marker is about to be purged.
            found = await self._last(key)
            if found is not None and not _is_marker(found.headers):
                break
            last = found.seq or 0 if found else 0
        raise RevisionConflict(f"{key} exists")

    async def _publish(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        subject = f"{self._prefix}{key}"
        try:
            try:
                ack = await self._jetstream.publish(subject, value, headers=headers or None)
            except NoStreamResponseError:
                await self._make()
                ack = await self._jetstream.publish(subject, value, headers=headers or None)
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise RevisionConflict(f"{key} was changed by someone else meanwhile") from error
            raise
        return ack.seq

    async def _last(self, key: str) -> api.RawStreamMsg | None:
        for _ in range(_READ_ATTEMPTS):
            try:
                return await self._jetstream.get_last_msg(
                    self._stream, f"{self._prefix}{key}", direct=True
                )
            except NotFoundError:
                return None
            except NoRespondersError:
                if not await self._exists():
                    return None
        raise self._silent()

    async def _read_batch(self, question: bytes) -> list[Msg]:
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        for _ in range(_READ_ATTEMPTS):
            messages = await self._bus.request_many(subject, question, _PAGE_TIMEOUT_S)
            if status_of(messages[-1]) != NO_RESPONDERS or not await self._exists():
                return messages
        raise self._silent()

    async def _exists(self) -> bool:
        """Return whether the bucket is there: asked when nobody answered a read.

        If it is, it has either been made in between, so that the next attempt succeeds, or it has
        no leader and stays silent.
        """
        try:
            await self._jetstream.stream_info(self._stream)
        except NotFoundError:
            return False
        return True

    def _silent(self) -> NatsUnavailable:
        return NatsUnavailable(f"NATS does not answer for bucket {self._name}")

    async def _make(self) -> None:
        # Two that make it at once both succeed: the configuration is the same.
        await self._jetstream.create_key_value(
            api.KeyValueConfig(bucket=self._name, ttl=self._ttl_s, direct=True)
        )

    def _reported(self, what: str) -> AbstractContextManager[None]:
        return reported(self._bus, f"{what} in bucket {self._name}")


def _expecting(revision: int | None) -> dict[str, str]:
    if revision is None:
        return {}
    return {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}


def _is_marker(headers: dict[str, str] | None) -> bool:
    return headers is not None and _OPERATION in headers


def _next_page(end: Msg) -> int | None:
    headers = end.headers or {}
    has_more = headers.get("Nats-Num-Pending", "0") != "0"
    return int(headers["Nats-Last-Sequence"]) if has_more else None
