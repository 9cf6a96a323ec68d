"""The list of shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from control.listing.list_kind import ListKind, ListQuery, ListView
from kubefox.formats import OptionalName
from kubefox.grants import Target
from kubefox.share import Share
from routing.snapshot.packed_records import RecordEntry

Entry = RecordEntry[Share]


class SharesQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of shares.

    Attributes:
        sort: ``name``, ``deployment`` or ``expires``; ``-`` before it sorts descending.
        deployment: Only shares of this deployment.
        virtual_environment: Only shares in this virtual environment.
    """

    deployment: OptionalName = ""
    virtual_environment: OptionalName = ""


def shares_kind() -> ListKind[Entry]:
    """Return the kind."""
    return ListKind(
        name="shares",
        fields={
            "name": "record.name",
            "deployment": "record.deployment",
            "virtual_environment": "record.virtual_environment",
            "expires": "record.expires_at_s",
        },
        sorts={
            "name": ("name",),
            "deployment": ("deployment", "name"),
            "expires": ("expires", "name"),
        },
        answers=_answers,
        target=lambda entry: Target(virtual_environment=entry.record.virtual_environment),
    )


async def _answers(_view: ListView[Entry], entries: Sequence[Entry]) -> Iterable[Share]:
    return (entry.record for entry in entries)
