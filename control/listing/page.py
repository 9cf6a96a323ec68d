"""Pages: part of a list, with the token for the next part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from control.listing.pacing import Pacing

MAX_PAGE_BYTES = 1 << 20
"""JSON of a page's objects; the object that exceeds it is on the next page."""

Object = TypeVar("Object")

_encode = msgspec.json.Encoder().encode


class Page(msgspec.Struct, Generic[Object], frozen=True, kw_only=True):
    """One page of a list. All pages of a list show the objects of one revision.

    Attributes:
        revision: Revision that the pages show. What an object's pods do is shown as it is now.
        continue_: Token for the next page; empty on the last one.
        remaining_item_count: How many objects follow on further pages; null if the list has
            filters.
        items: The objects.
    """

    revision: int
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None
    items: tuple[Object, ...] = ()


class EncodedPage(NamedTuple):
    """A page as JSON.

    Attributes:
        body: The JSON.
    """

    body: bytes


async def encode_items(answers: Iterable[object]) -> list[bytes]:
    """Return the JSON of a page's objects: of the first ones if they are too large together."""
    pacing = Pacing()
    encoded: list[bytes] = []
    size_bytes = 0
    for answer in answers:
        item = _encode(answer)
        size_bytes += len(item)
        if encoded and size_bytes > MAX_PAGE_BYTES:
            break
        encoded.append(item)
        if pacing.is_due(len(item)):
            await pacing.rest()
    return encoded


def encode_page(page: Page[object], items: Iterable[bytes]) -> EncodedPage:
    """Return the JSON of a page whose objects are encoded already."""
    head = _encode(page).removesuffix(b"[]}")
    return EncodedPage(b"".join((head, b"[", b",".join(items), b"]}")))
