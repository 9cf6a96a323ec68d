"""The control plane's data in JetStream KV, and the Snapshot that follows it.

Every process follows the whole bucket. While it cannot, it goes on with the snapshot it has, and
``is_current`` says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator

from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js import api
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

from broker import garbage
from broker.arrivals import Entry
from broker.breath import Breath
from broker.bus import Bus
from broker.follow import Batches, Follower, follow
from broker.jetstream import WRONG_LAST_SEQUENCE, Writes, refusal, silence
from model import records
from model.errors import BodyTooLarge, FoxError, NatsUnavailable, RevisionConflict
from model.records import Change, Record
from routing.snapshot import Snapshot, Transition

logger = logging.getLogger(__name__)

BUCKET = "kubefox"
HISTORY = 64
_WRITES = ("create", "update", "write", "delete")
_PLATFORM_KEY = "platform.key"
_PLATFORM_KEY_BYTES = 32


class Store:
    """Reads and writes records; made by ``open_store``."""

    _follower: Follower

    def __init__(self, bus: Bus, bucket: KeyValue, current: asyncio.Event) -> None:
        """Wrap an existing bucket; see ``open_store``."""
        self._bus = bus
        self._bucket = bucket
        self._current = current
        self._changed = asyncio.Event()
        self._writes = Writes(bus)
        self.snapshot = Snapshot.empty()

    @property
    def takes_writes(self) -> bool:
        """Whether the last record could be written, as far as this process knows."""
        return self._writes.are_possible

    @property
    def is_current(self) -> bool:
        """Whether the snapshot holds all that the bucket held a moment ago."""
        # nats-py knows that the connection is down a few turns of the loop before it says so.
        return self._bus.is_ready and self._current.is_set()

    async def get(self, key: str, revision: int | None = None) -> tuple[Record, int] | None:
        """Return the record under ``key`` and its revision, or None.

        Args:
            key: See ``model.records``.
            revision: An earlier revision, from the history; None means the latest.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        try:
            with _reported(self._bus, "read", key):
                entry = await self._bucket.get(key, revision)
        except KeyNotFoundError:
            return None
        return records.decode(key, entry.value or b""), entry.revision or 0

    @property
    def revision(self) -> int:
        """Revision of the bucket: the snapshot holds all that was written up to it."""
        return self._follower.revision

    async def create(self, key: str, record: Record) -> int:
        """Write a record that must not exist, and return its revision.

        Raises:
            RevisionConflict: It exists.
            BodyTooLarge: It does not fit one message.
            NatsUnavailable: NATS does not answer; whether it was written is not known.
        """
        with self._writes.noted(), _reported(self._bus, "create", key):
            return await self._bucket.create(key, records.encode(record))

    async def update(self, key: str, record: Record, revision: int) -> int:
        """Replace the record that has ``revision``, and return the new revision.

        Raises:
            RevisionConflict: The record has another revision by now.
            BodyTooLarge: It does not fit one message.
            NatsUnavailable: NATS does not answer; whether it was written is not known.
        """
        with self._writes.noted(), _reported(self._bus, "update", key):
            return await self._bucket.update(key, records.encode(record), revision)

    async def put(self, key: str, record: Record | None, since: int) -> int:
        """Write a record, None deletes it, if nothing else was: whatever it was decided on holds.

        Args:
            key: See ``model.records``.
            record: New content.
            since: Revision of the bucket that was looked at.

        Returns:
            The revision that it has now, and so has the bucket.

        Raises:
            RevisionConflict: Something has been written since then, under whatever key.
            BodyTooLarge: It does not fit one message.
            NatsUnavailable: NATS does not answer; whether it was written is not known.
        """
        headers = {api.Header.EXPECTED_LAST_SEQUENCE.value: str(since)}
        if record is None:
            headers["KV-Operation"] = "DEL"
        what = "write" if record else "delete"
        with self._writes.noted(), _reported(self._bus, what, key):
            value = records.encode(record) if record else b""
            jetstream = self._bus.jetstream()
            ack = await jetstream.publish(f"$KV.{BUCKET}.{key}", value, headers=headers)
        return ack.seq

    async def put_new(self, key: str, record: Record) -> None:
        """Write a record whose key names its content; one that exists is left alone."""
        with contextlib.suppress(RevisionConflict):
            await self.create(key, record)

    async def delete(self, key: str, revision: int) -> None:
        """Delete the record that has ``revision``; its history stays readable.

        Raises:
            RevisionConflict: The record has another revision by now.
            NatsUnavailable: NATS does not answer; whether it was deleted is not known.
        """
        with self._writes.noted(), _reported(self._bus, "delete", key):
            await self._bucket.delete(key, last=revision)

    async def platform_key(self) -> bytes:
        """Return the key that seals contexts; the first process to ask makes it."""
        fresh = secrets.token_bytes(_PLATFORM_KEY_BYTES)
        try:
            with _reported(self._bus, "create", _PLATFORM_KEY):
                await self._bucket.create(_PLATFORM_KEY, fresh)
                return fresh
        except RevisionConflict:
            with _reported(self._bus, "read", _PLATFORM_KEY):
                entry = await self._bucket.get(_PLATFORM_KEY)
            return entry.value or b""

    async def wait_revision(self, revision: int) -> Snapshot:
        """Return the snapshot as soon as it holds ``revision``: wait for one's own write."""
        return await self.wait_change(revision - 1)

    async def wait_change(self, after: int) -> Snapshot:
        """Return the snapshot as soon as its revision is above ``after``."""
        while self.snapshot.revision <= after:
            await self._changed.wait()
        return self.snapshot

    async def last_revision(self) -> int:
        """Return the revision that the bucket has at this moment.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        with _reported(self._bus, "read", BUCKET):
            info = await self._bus.jetstream().stream_info(f"KV_{BUCKET}")
        return info.state.last_seq

    async def wait_beyond(self, revision: int) -> None:
        """Return as soon as ``revision`` is above that."""
        await self._follower.wait_beyond(revision)

    async def replace(self, batches: Batches) -> None:
        """See ``broker.follow.Mirror``."""
        transition, breath = Transition(Snapshot.empty()), Breath()
        with garbage.paused():
            async for entries in batches:
                for change in _to_changes(entries):
                    transition.take(change)
                    await breath.take()
            self._show(await _finished(transition))

    async def change(self, entry: Entry) -> None:
        """See ``broker.follow.Mirror``."""
        transition = Transition(self.snapshot)
        for change in _to_changes((entry,)):
            transition.take(change)
        self._show(await _finished(transition))

    def _show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._changed.set()
        self._changed = asyncio.Event()


@contextlib.asynccontextmanager
async def open_store(bus: Bus) -> AsyncIterator[Store]:
    """Open the bucket, made if it is missing, and follow it until the context ends.

    Yields:
        The store, once its snapshot is current.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    with _reported(bus, "open", BUCKET):
        bucket = await ensure_bucket(bus, BUCKET, history=HISTORY)
    current = asyncio.Event()
    store = Store(bus, bucket, current)
    async with follow(bus, BUCKET, store, current) as store._follower:  # noqa: SLF001 - made here
        yield store


async def ensure_bucket(
    bus: Bus, name: str, *, history: int = 1, ttl_s: float | None = None
) -> KeyValue:
    """Return the KV bucket ``name``, made if it is missing.

    Args:
        bus: Connection to use.
        name: Bucket.
        history: Revisions kept of each key, at most 64.
        ttl_s: Age at which entries go; None keeps them.
    """
    jetstream = bus.jetstream()
    try:
        return await jetstream.key_value(name)
    except NotFoundError:
        config = api.KeyValueConfig(bucket=name, history=history, ttl=ttl_s)
        return await jetstream.create_key_value(config)


@contextlib.contextmanager
def _reported(bus: Bus, what: str, key: str) -> Iterator[None]:
    """Turn the errors of nats-py into ours; a missing key stays what it is.

    With the connection down it fails at once: nats-py would keep a write and send it after the
    reconnect, when its caller has long been told that it failed.
    """
    if not bus.is_ready:
        raise NatsUnavailable(f"cannot {what} {key}: the connection to NATS is down")
    try:
        yield
    except KeyWrongLastSequenceError as error:
        raise _conflict(key) from error
    except KeyNotFoundError:
        raise
    except APIError as error:
        # nats-py has an error of its own for it when it writes, and none when it deletes.
        if error.err_code in WRONG_LAST_SEQUENCE:
            raise _conflict(key) from error
        raise refusal(f"{what} {key}", error) from error
    except MaxPayloadError as error:
        limit = bus.max_payload_bytes
        raise BodyTooLarge(f"cannot {what} {key}: it is over the limit of {limit} bytes") from error
    except (NatsError, TimeoutError) as error:
        raise silence(f"{what} {key}", writes=what in _WRITES) from error


def _conflict(key: str) -> RevisionConflict:
    return RevisionConflict(f"{key} was changed by someone else meanwhile")


async def _finished(transition: Transition) -> Snapshot:
    """Return the next snapshot; whatever it takes, the loop has its turn in between."""
    breath = Breath()
    for _ in transition.steps():
        await breath.take()
    return transition.finish()


def _to_changes(entries: Iterable[Entry]) -> Iterator[Change]:
    """Yield the changes, without keys that no snapshot holds and values that cannot be read."""
    for key, value, revision in entries:
        if records.kind_of(key) not in records.KINDS:
            continue
        try:
            record = None if value is None else records.decode(key, value)
        except FoxError as error:
            logger.error("control plane data is ignored: %s", error)  # noqa: TRY400
            continue
        yield Change(key=key, revision=revision, record=record)
