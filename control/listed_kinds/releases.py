"""The list of releases: one object for each virtual environment that has any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from control.listing.list_kind import Condition, ListKind, ListQuery, ListView
from control.stored_record import StoredRecord
from kubefox.formats import OptionalName
from kubefox.grants import Target
from kubefox.release import Release, ReleaseState
from routing.snapshot.packed_records import RecordEntry

Entry = RecordEntry[ReleaseState]


class ReleaseStatus(Enum):
    """Which release a virtual environment has."""

    ACTIVE = "active"
    PENDING = "pending"


class ReleasesQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of releases.

    Attributes:
        sort: ``name`` or ``-name``: the name of the virtual environment.
        name_prefix: Only virtual environments whose names begin with this.
        app: Only virtual environments whose active or pending release has this app.
        deployment: Only virtual environments whose active or pending release has this deployment.
        environment: Only virtual environments of this environment.
        status: Only virtual environments that have an active, or a pending, release.
    """

    app: OptionalName = ""
    deployment: OptionalName = ""
    environment: OptionalName = ""
    status: ReleaseStatus | None = None


def releases_kind() -> ListKind[Entry]:
    """Return the kind."""
    return ListKind(
        name="releases",
        fields={"name": "record.virtual_environment"},
        sorts={"name": ("name",)},
        conditions={
            "app": _of_app,
            "deployment": _of_deployment,
            "environment": _of_environment,
            "status": _with_status,
        },
        narrowing=frozenset({"deployment"}),
        answers=_answers,
        target=lambda entry: Target(virtual_environment=entry.record.virtual_environment),
    )


async def _answers(
    _view: ListView[Entry], entries: Sequence[Entry]
) -> Iterable[StoredRecord[ReleaseState]]:
    return (StoredRecord(revision=entry.revision, object=entry.record) for entry in entries)


def _of_app(_view: ListView[Entry], app: str) -> Condition[Entry]:
    return Condition(lambda entry: any(app in release.apps for release in _live(entry.record)))


def _of_deployment(view: ListView[Entry], name: str) -> Condition[Entry]:
    def matches(entry: Entry) -> bool:
        return any(
            released.deployment == name
            for release in _live(entry.record)
            for released in release.apps.values()
        )

    if view.usage is None:
        return Condition(matches)
    return Condition(matches, [(user,) for user in view.usage.release_users(name)])


def _of_environment(view: ListView[Entry], environment: str) -> Condition[Entry]:
    virtual_environments = view.snapshot.virtual_environments

    def matches(entry: Entry) -> bool:
        found = virtual_environments.get(entry.record.virtual_environment)
        return found is not None and found.environment == environment

    return Condition(matches)


def _with_status(_view: ListView[Entry], status: ReleaseStatus) -> Condition[Entry]:
    if status is ReleaseStatus.ACTIVE:
        return Condition(lambda entry: entry.record.active is not None)
    return Condition(lambda entry: entry.record.pending is not None)


def _live(state: ReleaseState) -> Iterable[Release]:
    return (release for release in (state.active, state.pending) if release is not None)
