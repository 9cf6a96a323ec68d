"""The entries of one store, in the KV bucket of their virtual environment."""

from __future__ import annotations

from adapters.state_store import keys
from broker.nats.kv import KvBucket
from kubefox.state_store import PAGE_BYTES, PAGE_ENTRIES, Entry, Page


class KvStorage:
    """The entries of one store of one app; see ``kubefox.state_store.Storage``.

    Args:
        bucket: Of the virtual environment.
        app: Name of the app.
        store: Name of the store.
        write_id: Id of the request: one that is sent again has the outcome of the first.
    """

    def __init__(self, bucket: KvBucket, app: str, store: str, write_id: str = "") -> None:
        self._write_id = write_id
        self._bucket = bucket
        self._app = app
        self._store = store

    async def get(self, key: str) -> Entry | None:
        """Return the entry, or None."""
        found = await self._bucket.get(self._kv_key(key))
        return None if found is None else Entry(key, found.value, found.revision)

    async def put(self, key: str, value: bytes, revision: int | None) -> int:
        """Write the entry and return its new revision."""
        kv_key = self._kv_key(key)
        return await self._bucket.put(kv_key, value, revision, write_id=self._write_id)

    async def delete(self, key: str, revision: int | None) -> None:
        """Delete the entry."""
        await self._bucket.delete(self._kv_key(key), revision)

    async def page(self, prefix: str, after: int) -> Page:
        """Return entries whose keys begin with ``prefix``, from above revision ``after``."""
        pattern = keys.pattern(self._app, self._store, prefix)
        found, end = await self._bucket.page(
            pattern, after, max_entries=PAGE_ENTRIES, max_bytes=PAGE_BYTES
        )
        texts = [(keys.decode(entry.key), entry) for entry in found]
        return Page(
            tuple(
                Entry(text, entry.value, entry.revision)
                for text, entry in texts
                if text.startswith(prefix)
            ),
            end,
        )

    def _kv_key(self, key: str) -> str:
        return keys.encode(self._app, self._store, key)
