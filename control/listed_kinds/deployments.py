"""The list of deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from control.listing.list_kind import Condition, ListKind, ListQuery, ListView
from control.rollouts import StoredDeployment, deployment_state, stored_deployment
from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.formats import OptionalName
from kubefox.grants import Target
from kubefox.rollout import DeploymentState
from routing.snapshot.packed_records import RecordEntry

Entry = RecordEntry[Deployment]
ReadyVersions = Callable[[], AbstractSet[Version]]


class DeploymentsQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of deployments.

    Attributes:
        sort: ``name``, ``created`` or ``app``; ``-`` before it sorts descending.
        app: Only deployments of this app.
        component: Only deployments that have a component of this name.
        state: Only deployments in this state.
    """

    app: OptionalName = ""
    component: OptionalName = ""
    state: DeploymentState | None = None


def deployments_kind(ready_versions: ReadyVersions) -> ListKind[Entry]:
    """Return the kind.

    Args:
        ready_versions: Returns the component versions that accept events.
    """

    def stored(view: ListView[Entry], entry: Entry) -> StoredDeployment:
        return stored_deployment(view.snapshot, entry.record, ready_versions())

    async def answers(
        view: ListView[Entry], entries: Sequence[Entry]
    ) -> Iterable[StoredDeployment]:
        return (stored(view, entry) for entry in entries)

    def in_state(view: ListView[Entry], state: DeploymentState) -> Condition[Entry]:
        snapshot = view.snapshot

        def matches(entry: Entry) -> bool:
            return deployment_state(snapshot, entry.record, ready_versions()) is state

        return Condition(matches)

    return ListKind(
        name="deployments",
        fields={
            "name": "record.name",
            "app": "record.app",
            "created": "record.created_at_s",
        },
        sorts={"name": ("name",), "created": ("created", "name"), "app": ("app", "name")},
        orders=(("app", "created", "name"),),
        conditions={"component": _with_component, "state": in_state},
        answers=answers,
        target=lambda entry: Target(app=entry.record.app),
    )


def _with_component(_view: ListView[Entry], name: str) -> Condition[Entry]:
    return Condition(lambda entry: name in entry.record.components)
