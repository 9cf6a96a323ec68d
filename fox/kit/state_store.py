"""A component's data: ``orders = kit.state_store("orders")``.

The data belongs to the event's virtual environment and app, so the same code in ``team-a`` and
``team-b`` sees each team's own orders. ``InMemoryStateStore`` stands in for the adapter in unit
tests: it answers the same requests by the same code (``model.state_store``).
"""

from __future__ import annotations

import builtins
from typing import Protocol

import msgspec

from fox.kit.response import Response
from model import event
from model.errors import RevisionConflict
from model.event import Headers
from model.state_store import (
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
        """Call a declared dependency; raise the FoxError that stopped it."""


class StateStore:
    """A named store of entries: text keys, values of bytes, a revision each.

    Every method raises InvalidRequest for a key that is empty or over 1 KiB, and the FoxError that
    stopped the call.

    Args:
        name: Name of the store; apps and virtual environments each have their own.
    """

    def __init__(self, name: str) -> None:
        """Keep the name; the declaration itself is the kit's."""
        self.name = name

    async def get(self, key: str, *, ctx: Caller) -> Entry | None:
        """Return the entry, or None."""
        response = await ctx.request(STATE_STORE, "GET", key_path(self.name, key))
        if response.status == NOT_FOUND:
            return None
        return Entry(key, response.body, _revision(response))

    async def put(
        self, key: str, value: object, *, ctx: Caller, revision: int | None = None
    ) -> int:
        """Write an entry and return its new revision.

        Args:
            key: Any text; ``/`` groups keys, and listing a whole group is quick.
            value: bytes as they are, str as UTF-8, anything else as JSON.
            ctx: The event in whose virtual environment the store lies.
            revision: Write only if the entry has this revision; 0: if there is none.

        Raises:
            RevisionConflict: It has another one.
            BodyTooLarge: The value is over 512 KiB.
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
        """Delete an entry; one that does not exist is no error.

        Args:
            key: Of the entry.
            ctx: The event in whose virtual environment the store lies.
            revision: Delete only if the entry has this revision.

        Raises:
            RevisionConflict: It has another one.
        """
        path = key_path(self.name, key)
        await ctx.request(STATE_STORE, "DELETE", path, headers=_if_match(revision))

    async def list(self, prefix: str = "", *, ctx: Caller) -> builtins.list[Entry]:
        """Return the entries whose keys begin with ``prefix``, sorted by key.

        They come in pages, so this is no snapshot: an entry that is written meanwhile is returned
        as it was before or after.
        """
        found: dict[str, Entry] = {}
        after: int | None = 0
        while after is not None:
            query = list_query(prefix, after)
            response = await ctx.request(STATE_STORE, "GET", f"/{self.name}", query=query)
            page = decode_page(response.body)
            found.update((each.key, each) for each in page.entries)
            after = page.after
        return [found[key] for key in sorted(found)]


class InMemoryStateStore:
    """The state store of one app in one virtual environment, for unit tests.

    Args:
        page_entries: Most entries of a page.
    """

    def __init__(self, *, page_entries: int = PAGE_ENTRIES) -> None:
        """Start empty."""
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
        """Answer as the adapter does; ``dependency`` is not looked at."""
        store, operation = parse(method, path, query, headers, body)
        storage = self._stores.setdefault(store, _MemoryStorage(self._page_entries))
        status, answer_headers, content = await perform(operation, storage)
        return Response.from_wire(event.Response(status=status, headers=answer_headers), content)


class _MemoryStorage:
    """The entries of one store; see ``model.state_store.Storage``."""

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
                each
                for each in self._entries.values()
                if each.revision > after and each.key.startswith(prefix)
            ),
            key=lambda each: each.revision,
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
