"""Checks of a decoded request against the marks of its types: see ``kubefox.formats``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from kubefox.formats import Constraint

_MAX_INTEGER = (1 << 63) - 1
_KINDS_OF: dict[type, tuple[type[inspect.Type], ...]] = {
    type(None): (inspect.NoneType,),
    bool: (inspect.BoolType,),
    int: (inspect.IntType, inspect.FloatType),
    float: (inspect.FloatType,),
    str: (inspect.StrType, inspect.EnumType),
    list: (inspect.VarTupleType, inspect.ListType),
    dict: (inspect.StructType, inspect.DictType),
}


def faults(given: Any, kind: Any, what: str) -> Iterator[str | None]:
    """Yield a message for each fault of a request, and None after each field without one.

    Structs of records accept unknown fields, because a newer version may have stored them. In a
    request, a misspelt field would be ignored silently, so it is a fault.

    Args:
        given: The JSON of the request, as built-in types, that was decoded as ``kind``.
        kind: Type of the body or the query.
        what: What is checked, for messages: ``the body``.
    """
    return _faults(given, _type_of(kind), what, "")


@cache
def _type_of(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _faults(given: Any, kind: inspect.Type, what: str, path: str) -> Iterator[str | None]:
    constraint: Constraint | None = None
    if isinstance(kind, inspect.Metadata):
        constraint = (kind.extra or {}).get("constraint")
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        yield from _faults(given, _member(kind, given), what, path)
        return
    if constraint is not None and (fault := constraint.fault(given)):
        yield f"{what} is invalid: {path}: {fault}"
        return
    match kind:
        case inspect.StructType():
            yield from _faults_of_fields(given, kind.cls, what, path)
        case inspect.DictType():
            for name, value in given.items():
                yield from _faults(value, kind.value_type, what, _inside(path, name))
        case inspect.ListType() | inspect.VarTupleType():
            for at, value in enumerate(given):
                yield from _faults(value, kind.item_type, what, f"{path}[{at}]")
        case inspect.IntType() if not -_MAX_INTEGER <= given <= _MAX_INTEGER:
            yield f"{what} is invalid: {path}: {given} is not valid: expected 64 bits at most"
        case _:
            yield None


def _faults_of_fields(
    given: dict[str, Any], struct: type[msgspec.Struct], what: str, path: str
) -> Iterator[str | None]:
    fields = _fields_of(struct)
    for name, value in given.items():
        field = _inside(path, name)
        if name in fields:
            yield from _faults(value, fields[name], what, field)
        else:
            yield f"{what} has an unknown field: {field}"


@cache
def _fields_of(struct: type[msgspec.Struct]) -> dict[str, inspect.Type]:
    kind = inspect.type_info(struct)
    return (
        {field.encode_name: field.type for field in kind.fields}
        if isinstance(kind, inspect.StructType)
        else {}
    )


def _member(union: inspect.UnionType, given: Any) -> inspect.Type:
    """Return the member of a union that a value has been decoded as."""
    for member in union.types:
        inner = member.type if isinstance(member, inspect.Metadata) else member
        if isinstance(inner, _KINDS_OF[type(given)]):
            return member
    return inspect.AnyType()


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
