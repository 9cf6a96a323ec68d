"""The YAML kinds, ``app.yaml`` and ``component.yaml``, from the structs that read them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from docs.generator.markdown import check_complete, code, fields, prose, summary, table
from docs.generator.types import default_text, type_name
from kubefox import custom_resources
from kubefox.app import AppSpec, ComponentSpec
from kubefox.yaml_kinds import KINDS


class _Field(NamedTuple):
    path: str
    info: msgspec.structs.FieldInfo
    meaning: str


def kinds() -> str:
    """Return a section for each kind that ``fox apply`` reads."""
    return "\n\n".join(f"## {name}\n\n{_section(struct)}" for name, struct in KINDS.items())


def resources() -> str:
    """Return a section for each kind of custom resource, with its status."""
    return "\n\n".join(
        f"## {kind.kind}\n\n"
        f"In URLs: `{kind.plural}`; short names: {', '.join(map(code, kind.short_names))}.\n\n"
        f"{_section(kind.resource)}\n\n{_table(kind.status, 'status.')}"
        for kind in (*custom_resources.KINDS, *custom_resources.MIRRORS)
    )


def app_files() -> str:
    """Return a section for each file of an app that describes it."""
    files = {"app.yaml": AppSpec, "component.yaml": ComponentSpec}
    return "\n\n".join(f"## `{name}`\n\n{_section(struct)}" for name, struct in files.items())


def _section(struct: Any) -> str:
    return f"{summary(struct.__doc__)}\n\n{_table(struct, '')}"


def _table(struct: Any, prefix: str) -> str:
    rows = [
        (code(field.path), type_name(field.info.type), default_text(field.info), field.meaning)
        for field in _walk(struct, prefix)
    ]
    return table(["Field", "Type", "Default", "Meaning"], rows)


def _walk(struct: Any, prefix: str) -> Iterator[_Field]:
    """Yield the fields of a struct, those of its base first, each before what is inside it.

    Raises:
        ValueError: The docstring of a struct does not describe a field.
    """
    infos = {info.name: info for info in msgspec.structs.fields(struct)}
    meanings: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        meanings |= fields(base.__doc__) if base not in (msgspec.Struct, object) else {}
    check_complete(struct.__name__, infos, meanings)
    for name, meaning in meanings.items():
        info = infos[name]
        path = f"{prefix}{info.encode_name}"
        yield _Field(path, info, prose(meaning))
        yield from _walk_inside(info.type, path)


def _walk_inside(kind: Any, path: str) -> Iterator[_Field]:
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    is_mapping = typing.get_origin(kind) is dict
    for part in (kind, *typing.get_args(kind)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            # The author of the file names the entries of a mapping.
            yield from _walk(part, f"{path}.<name>." if is_mapping else f"{path}.")
