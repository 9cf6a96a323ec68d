"""One store's entries in the KV bucket of their virtual environment."""

from __future__ import annotations

from adapters.state_store import keys
from broker.kv import KvBucket
from model.state_store import PAGE_BYTES, PAGE_ENTRIES, Entry, Page


class KvStorage:
    """The entries of one store of one app; see ``model.state_store.Storage``.

    Args:
        bucket: Of the virtual environment.
        app: Name of the app.
        store: Name of the store.
    """

    def __init__(self, bucket: KvBucket, app: str, store: str) -> None:
        """Keep where the entries lie."""
        self._bucket = bucket
        self._app = app
        self._store = store

    async def get(self, key: str) -> Entry | None:
        """Return the entry, or None."""
        found = await self._bucket.get(self._kv_key(key))
        return None if found is None else Entry(key, found.value, found.revision)

    async def put(self, key: str, value: bytes, revision: int | None) -> int:
        """Write the entry and return its new revision."""
        return await self._bucket.put(self._kv_key(key), value, revision)

    async def delete(self, key: str, revision: int | None) -> None:
        """Delete the entry."""
        await self._bucket.delete(self._kv_key(key), revision)

    async def page(self, prefix: str, after: int) -> Page:
        """Return entries whose keys begin with ``prefix``, from above revision ``after``."""
        pattern = keys.pattern(self._app, self._store, prefix)
        found, end = await self._bucket.page(
            pattern, after, max_entries=PAGE_ENTRIES, max_bytes=PAGE_BYTES
        )
        texts = [(keys.decode(each.key), each) for each in found]
        return Page(
            tuple(
                Entry(text, each.value, each.revision)
                for text, each in texts
                if text.startswith(prefix)
            ),
            end,
        )

    def _kv_key(self, key: str) -> str:
        return keys.encode(self._app, self._store, key)
