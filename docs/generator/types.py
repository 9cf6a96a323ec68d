"""Types as readers of a reference see them, not as Python spells them."""

from __future__ import annotations

import enum
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

_NAMES: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    bytes: "bytes",
    Path: "path",
    Any: "any value",
}


def type_name(kind: Any) -> str:
    """Return a type in words."""
    if kind in _NAMES:
        return _NAMES[kind]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return type_name(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (typing.Union, types.UnionType):
        named = [type_name(part) for part in parts if part is not type(None)]
        return " or ".join(dict.fromkeys(named))
    if origin in (list, tuple):
        return f"list of {_plural(type_name(parts[0]))}"
    if origin is dict:
        return f"mapping of string to {type_name(parts[1])}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "mapping"
    return str(kind)


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """Return the default of a struct's field, empty when there is none."""
    if field.required:
        return "required"
    value = field.default
    if isinstance(value, enum.Enum):
        value = value.value
    if value in (None, "", (), {}, []) or isinstance(value, msgspec.Struct | msgspec.UnsetType):
        return ""
    if value is msgspec.NODEFAULT:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _plural(name: str) -> str:
    return f"{name}s" if name.isalpha() else name
