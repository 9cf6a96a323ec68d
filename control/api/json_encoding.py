"""Large answers as JSON, encoded in steps: ten thousand rows at once hold the loop for 10 ms."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from kubefox.steps import Steps

MAX_ITEMS_A_STEP = 512
"""Items of lists and objects that are encoded in one step; an item is mostly one row."""
_SCALARS = {str, int, float, bool, NoneType, msgspec.UnsetType}

_encode = msgspec.json.Encoder().encode


def encode_in_steps(answer: object) -> Steps[bytes]:
    """Return the JSON of an answer, the same that msgspec makes of it at once."""
    parts: list[bytes] = []
    yield from _encode_parts(answer, parts)
    return b"".join(parts)


def _encode_parts(value: object, parts: list[bytes]) -> Steps[None]:
    if isinstance(value, tuple | list):
        yield from _encode_items(value, parts)
    elif isinstance(value, dict):
        yield from _encode_pairs(b"{", value.items(), parts)
    elif isinstance(value, msgspec.Struct) and _items_in(value) > MAX_ITEMS_A_STEP:
        yield from _encode_fields(value, parts)
    else:
        parts.append(_encode(value))


def _encode_items(items: Iterable[object], parts: list[bytes]) -> Steps[None]:
    separator, count = b"[", 0
    some: list[object] = []
    for item in items:
        size = 1 + _items_in(item)
        if some and count + size > MAX_ITEMS_A_STEP:
            # The items of a list between its brackets.
            parts += separator, _encode(some)[1:-1]
            separator, some, count = b",", [], 0
            yield
        if size > MAX_ITEMS_A_STEP:
            parts.append(separator)
            separator = b","
            yield from _encode_parts(item, parts)
        else:
            some.append(item)
            count += size
    parts += (separator, _encode(some)[1:-1], b"]") if some or separator == b"[" else (b"]",)


def _encode_pairs(
    first: bytes, pairs: Iterable[tuple[object, object]], parts: list[bytes]
) -> Steps[None]:
    separator = first
    for number, (name, value) in enumerate(pairs, 1):
        parts += separator, _encode(name), b":"
        separator = b","
        yield from _encode_parts(value, parts)
        if number % MAX_ITEMS_A_STEP == 0:
            yield
    parts.append(b"}" if separator != first else b"{}")


def _encode_fields(value: msgspec.Struct, parts: list[bytes]) -> Steps[None]:
    config = value.__struct_config__
    if config.array_like or config.omit_defaults or config.tag is not None:
        # No large answer has such a form.
        parts.append(_encode(value))
        return
    names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
    fields = [(encoded, getattr(value, name)) for name, encoded in names]
    given = [(name, field) for name, field in fields if field is not msgspec.UNSET]
    yield from _encode_pairs(b"{", given, parts)


def _items_in(value: object) -> int:
    """Return how many items the lists and objects of a value have, without those inside them."""
    if isinstance(value, tuple | list | dict):
        return len(value)
    if isinstance(value, msgspec.Struct):
        return sum([_items_in(getattr(value, name)) for name in _containers_of(type(value))])
    return 0


@lru_cache(maxsize=256)
def _containers_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the names of the fields that may hold a list, an object or another struct."""
    fields = msgspec.structs.fields(kind)
    return tuple(field.name for field in fields if not _is_scalar(field.type))


def _is_scalar(kind: Any) -> bool:
    if get_origin(kind) in {Union, UnionType}:
        return all(map(_is_scalar, get_args(kind)))
    return kind in _SCALARS
