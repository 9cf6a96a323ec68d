"""A component's data: ``orders = kit.state_store("orders")``.

The data belongs to the event's virtual environment and app, so the same code in ``team-a`` and
``team-b`` sees each team's own orders. ``InMemoryStateStore`` replaces the adapter in unit tests;
both run the same code (``kubefox.state_store``).
"""

from __future__ import annotations

import builtins
from typing import Protocol

import msgspec

from fox.kit.response import Response
from kubefox.errors import RevisionConflict
from kubefox.event import Headers, ResponseHead
from kubefox.state_store import (
    IF_MATCH,
    PAGE_ENTRIES,
    REVISION,
    STATE_STORE,
    Entry,
    Page,
    decode_page,
    key_path,
    list_query,
    parse,
    perform,
)

NOT_FOUND = 404


class Caller(Protocol):
    """The part of ``Context`` that a store needs."""

    async def request(
        self,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
    ) -> Response:
        """Call a declared dependency; see ``Context.request``."""


class StateStore:
    """A named store of entries; returned by ``Kit.state_store``.

    An entry has a key, which is text of at most 1 KiB, a value of at most 512 KiB, and a revision
    that grows with every write. Apps and virtual environments have separate stores. Every method
    raises ``InvalidRequest`` for a key that is empty or too long, and ``FoxError`` if the state
    store cannot be reached.

    Attributes:
        name: Name of the store.

    Example:
        >>> orders = kit.state_store("orders")
        >>> @kit.route("Path(`/orders/{id}`) && Method(`PUT`)")
        ... async def put_order(ctx: Context) -> Response:
        ...     try:
        ...         await orders.put(ctx.params["id"], ctx.json(), ctx=ctx, revision=0)
        ...     except errors.RevisionConflict:
        ...         return Response("the order exists already", status=409)
        ...     return Response(status=201)
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def get(self, key: str, *, ctx: Caller) -> Entry | None:
        """Read an entry.

        Args:
            key: Key of the entry.
            ctx: Context of the event; its virtual environment selects the data.

        Returns:
            The entry, or None if there is none.
        """
        response = await ctx.request(STATE_STORE, "GET", key_path(self.name, key))
        if response.status == NOT_FOUND:
            return None
        return Entry(key, response.body, _revision(response))

    async def put(
        self, key: str, value: object, *, ctx: Caller, revision: int | None = None
    ) -> int:
        """Write an entry.

        Args:
            key: Any text. Keys in groups, such as ``eu/1``, make listing a group fast.
            value: Bytes are stored as they are, text as UTF-8, any other value as JSON.
            ctx: Context of the event; its virtual environment selects the data.
            revision: Write only if the entry has this revision; 0 writes only if there is no
                entry. None always writes.

        Returns:
            The new revision of the entry.

        Raises:
            RevisionConflict: The entry has another revision.
            BodyTooLarge: The value is larger than 512 KiB.
        """
        response = await ctx.request(
            STATE_STORE,
            "PUT",
            key_path(self.name, key),
            headers=_if_match(revision),
            body=_to_bytes(value),
        )
        return _revision(response)

    async def delete(self, key: str, *, ctx: Caller, revision: int | None = None) -> None:
        """Delete an entry; without an entry this has no effect.

        Args:
            key: Key of the entry.
            ctx: Context of the event; its virtual environment selects the data.
            revision: Delete only if the entry has this revision. None always deletes.

        Raises:
            RevisionConflict: The entry has another revision.
        """
        path = key_path(self.name, key)
        await ctx.request(STATE_STORE, "DELETE", path, headers=_if_match(revision))

    async def list(self, prefix: str = "", *, ctx: Caller) -> builtins.list[Entry]:
        """Read all entries whose keys begin with a prefix.

        Entries are read in pages, so this is no snapshot: an entry that is written at the same
        time is returned as it was before or after. On a platform with several NATS servers, an
        entry that was deleted some milliseconds before may be returned.

        Args:
            prefix: Prefix of the keys; empty reads all entries.
            ctx: Context of the event; its virtual environment selects the data.

        Returns:
            The entries, sorted by key.
        """
        found: dict[str, Entry] = {}
        after: int | None = 0
        while after is not None:
            query = list_query(prefix, after)
            response = await ctx.request(STATE_STORE, "GET", f"/{self.name}", query=query)
            page = decode_page(response.body)
            found.update((entry.key, entry) for entry in page.entries)
            after = page.after
        return [found[key] for key in sorted(found)]


class InMemoryStateStore:
    """The state store of one app in one virtual environment, for unit tests.

    A test passes it as ``ctx`` to read and write what a component stores; see
    ``TestClient.state_store``.

    Args:
        page_entries: Number of entries in a page.
    """

    def __init__(self, *, page_entries: int = PAGE_ENTRIES) -> None:
        self._page_entries = page_entries
        self._stores: dict[str, _MemoryStorage] = {}

    async def request(
        self,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
    ) -> Response:
        """Answer as the adapter does; ``dependency`` is ignored."""
        store, operation = parse(method, path, query, headers, body)
        storage = self._stores.setdefault(store, _MemoryStorage(self._page_entries))
        status, answer_headers, content = await perform(operation, storage)
        return Response.from_wire(ResponseHead(status=status, headers=answer_headers), content)


class _MemoryStorage:
    """The entries of one store; see ``kubefox.state_store.Storage``."""

    def __init__(self, page_entries: int) -> None:
        self._page_entries = page_entries
        self._entries: dict[str, Entry] = {}
        self._last_revision = 0

    async def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def put(self, key: str, value: bytes, revision: int | None) -> int:
        self._check(key, revision)
        self._last_revision += 1
        self._entries[key] = Entry(key, value, self._last_revision)
        return self._last_revision

    async def delete(self, key: str, revision: int | None) -> None:
        self._check(key, revision)
        self._entries.pop(key, None)

    async def page(self, prefix: str, after: int) -> Page:
        found = sorted(
            (
                entry
                for entry in self._entries.values()
                if entry.revision > after and entry.key.startswith(prefix)
            ),
            key=lambda entry: entry.revision,
        )
        page = tuple(found[: self._page_entries])
        return Page(page, page[-1].revision if len(found) > len(page) else None)

    def _check(self, key: str, revision: int | None) -> None:
        entry = self._entries.get(key)
        if revision is not None and revision != (entry.revision if entry else 0):
            raise RevisionConflict(f"{key} was changed by someone else meanwhile")


def _to_bytes(value: object) -> bytes:
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case str():
            return value.encode()
        case _:
            return msgspec.json.encode(value)


def _if_match(revision: int | None) -> Headers:
    return () if revision is None else ((IF_MATCH, str(revision)),)


def _revision(response: Response) -> int:
    return int(response.headers[REVISION])
