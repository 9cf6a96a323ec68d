"""The lists of environments, virtual environments and HTTP adapters, with masked secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from control.listing.list_kind import ListKind, ListQuery, ListView
from control.secret_masks import masked
from control.stored_record import StoredRecord
from kubefox.environment import VirtualEnvironment
from kubefox.formats import OptionalName
from kubefox.grants import Target
from routing.snapshot.packed_records import RecordEntry

Entry = RecordEntry[Any]


class NamedQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of a list without filters of its own.

    Attributes:
        sort: ``name`` or ``-name``.
    """


class VirtualEnvironmentsQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of virtual environments.

    Attributes:
        sort: ``name`` or ``environment``; ``-`` before it sorts descending.
        environment: Only virtual environments of this environment.
    """

    environment: OptionalName = ""


def environments_kind() -> ListKind[Entry]:
    """Return the kind of environments."""
    return _named_kind("environments", _by_name)


def http_adapters_kind() -> ListKind[Entry]:
    """Return the kind of HTTP adapters, which belong to no virtual environment."""
    return _named_kind("HTTP adapters", lambda _entry: Target())


def _by_name(entry: Entry) -> Target:
    return Target(virtual_environment=entry.record.name)


def _named_kind(name: str, target: Callable[[Entry], Target]) -> ListKind[Entry]:
    """Return a kind without filters of its own."""
    return ListKind(
        name=name,
        fields={"name": "record.name"},
        sorts={"name": ("name",)},
        answers=_answers,
        target=target,
    )


def virtual_environments_kind() -> ListKind[RecordEntry[VirtualEnvironment]]:
    """Return the kind."""
    return ListKind(
        name="virtual environments",
        fields={
            "name": "record.name",
            "environment": "record.environment",
        },
        sorts={"name": ("name",), "environment": ("environment", "name")},
        answers=_answers,
        target=_by_name,
    )


async def _answers(_view: ListView[Entry], entries: Sequence[Entry]) -> Iterable[StoredRecord[Any]]:
    return (StoredRecord(revision=entry.revision, object=masked(entry.record)) for entry in entries)
