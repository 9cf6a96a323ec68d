"""The tokens of the control API in JetStream KV; each control process has a copy in memory.

The copy follows the bucket, so a token that one control process revokes is refused by the others as
soon as the change arrives: that takes less than a millisecond. While NATS is away, a process goes
on with its last copy. Nothing can be changed or revoked in that time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import msgspec
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.nats.entry_buffer import WatchedEntry
from broker.nats.jetstream import ensure_bucket, translated_errors
from broker.nats.watch import BucketWatch, EntryBatches, watch_bucket
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import Conflict, NatsUnavailable, NotFound
from kubefox.stored_token import StoredToken

logger = logging.getLogger(__name__)

BUCKET = "kubefox-tokens"
MAX_TOKENS = 10_000
SYNC_TIMEOUT_S = 5.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredToken).decode


class TokenStore:
    """Reads and writes tokens; made by ``open_token_store``."""

    _watch: BucketWatch

    def __init__(self, bus: Bus, bucket: KeyValue) -> None:
        self._bus = bus
        self._bucket = bucket
        self._by_name: dict[str, StoredToken] = {}
        self._by_id: dict[str, StoredToken] = {}

    @property
    def revision(self) -> int:
        """Revision of the bucket up to which this process has all changes."""
        return self._watch.revision

    def find(self, token_id: str) -> StoredToken | None:
        """Return the token with an id, or None; it may be expired."""
        return self._by_id.get(token_id)

    def all(self) -> list[StoredToken]:
        """Return all tokens, in the order of their names."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    async def create(self, token: StoredToken) -> None:
        """Store a new token, and return once this process knows it.

        Raises:
            Conflict: A token of this name exists, or there are too many.
            NatsUnavailable: NATS does not answer; the token may or may not be stored.
        """
        if len(self._by_name) >= MAX_TOKENS:
            raise Conflict(f"there are {MAX_TOKENS:,} tokens already: revoke some")
        with translated_errors(self._bus, f"create token {token.name}", writes=True):
            try:
                revision = await self._bucket.create(token.name, _encode(token))
            except KeyWrongLastSequenceError:
                revision = 0
        if not revision:
            raise Conflict(f"token {token.name} exists: revoke it first, or use another name")
        await self._wait(revision)

    async def delete(self, name: str) -> None:
        """Delete a token, and return once this process refuses it.

        Raises:
            NotFound: There is none of this name.
            NatsUnavailable: NATS does not answer; the token may or may not be deleted.
        """
        if name not in self._by_name:
            raise NotFound(f"token {name} does not exist")
        with translated_errors(self._bus, f"delete token {name}", writes=True):
            subject, headers = f"$KV.{BUCKET}.{name}", {"KV-Operation": "DEL"}
            ack = await self._bus.jetstream().publish(subject, b"", headers=headers)
        await self._wait(ack.seq)

    async def _wait(self, revision: int) -> None:
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                await self._watch.wait_beyond(revision - 1)
        except TimeoutError as error:
            raise NatsUnavailable(
                "the change was written, but this process does not see it: check the connection to "
                "NATS, and look at `fox token list`"
            ) from error

    async def replace(self, batches: EntryBatches) -> None:
        """See ``broker.nats.watch.BucketReplica``."""
        tokens: dict[str, StoredToken] = {}
        async for entries in batches:
            for entry in entries:
                tokens.pop(entry.key, None)
                if (token := _decoded(entry)) is not None:
                    tokens[entry.key] = token
        self._by_name = tokens
        self._by_id = {token.id: token for token in tokens.values()}

    async def apply(self, entry: WatchedEntry) -> None:
        """See ``broker.nats.watch.BucketReplica``."""
        before = self._by_name.pop(entry.key, None)
        if before is not None:
            del self._by_id[before.id]
        if (token := _decoded(entry)) is not None:
            self._by_name[entry.key] = self._by_id[token.id] = token


@contextlib.asynccontextmanager
async def open_token_store(bus: Bus) -> AsyncIterator[TokenStore]:
    """Open the bucket, create it if it is missing, and follow it until the context ends.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    with translated_errors(bus, f"open {BUCKET}"):
        bucket = await ensure_bucket(bus, BUCKET)
    store = TokenStore(bus, bucket)
    async with watch_bucket(bus, BUCKET, store) as store._watch:  # noqa: SLF001 - made here
        yield store


def _decoded(entry: WatchedEntry) -> StoredToken | None:
    if entry.value is None:
        return None
    try:
        return _decode(entry.value)
    except DECODE_ERRORS as error:
        logger.error("token %s cannot be read, and is refused: %s", entry.key, error)  # noqa: TRY400
        return None
