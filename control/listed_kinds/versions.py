"""The lists by component version: pods, idle versions and limits of replicas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from control.listing.list_kind import Condition, ListKind, ListQuery, ListView
from control.scaling import Scaling
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.formats import OptionalHash, OptionalName
from kubefox.grants import Target
from kubefox.pod import IdleVersion, PodPhase, PodStatus
from routing.snapshot.snapshot import Snapshot

_VERSION = ("app", "component", "hash")


class _OfVersion(Protocol):
    @property
    def app(self) -> str: ...

    @property
    def component(self) -> str: ...

    @property
    def hash(self) -> str: ...


Item = TypeVar("Item", bound=_OfVersion)


class VersionsQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of a list by component version.

    Attributes:
        sort: ``app`` (and component, and hash), or ``name``; ``-`` before it sorts descending.
        name_prefix: Only components whose names begin with this.
        app: Only versions of this app.
        component: Only versions of components of this name.
        hash: Only the version with this content hash.
        deployment: Only versions that this deployment uses, or will use after its rollout.
    """

    app: OptionalName = ""
    component: OptionalName = ""
    hash: OptionalHash = ""
    deployment: OptionalName = ""


class PodsQuery(VersionsQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of pods.

    Attributes:
        sort: ``app`` (and component, and hash), ``name`` or ``created``; ``-`` before it sorts
            descending.
        name_prefix: Only pods whose ids begin with this.
        phase: Only pods in this phase.
        runner: Only pods of this pod runner.
    """

    phase: PodPhase | None = None
    runner: OptionalName = ""


def pods_kind() -> ListKind[PodStatus]:
    """Return the kind of pods."""
    return ListKind(
        name="pods",
        fields={
            **_fields("id"),
            "created": "started_at_s",
            "phase": "phase",
            "runner": "runner",
        },
        sorts={
            "app": (*_VERSION, "name"),
            "name": ("name", "app"),
            "created": ("created", "name", "app"),
        },
        conditions={"deployment": _of_deployment},
        narrowing=frozenset({"deployment"}),
        answers=_themselves,
        target=_of_app,
    )


def idle_versions_kind() -> ListKind[IdleVersion]:
    """Return the kind of idle versions."""
    return ListKind(
        name="idle versions",
        fields=_fields("component"),
        sorts={"app": _VERSION, "name": ("name", "app", "hash")},
        conditions={"deployment": _of_deployment},
        narrowing=frozenset({"deployment"}),
        answers=_themselves,
        target=_of_app,
    )


def scales_kind(scaling: Scaling) -> ListKind[Version]:
    """Return the kind of limits of replicas."""

    async def answers(_view: ListView[Version], versions: Sequence[Version]) -> Iterable[object]:
        return await scaling.scales_of(versions)

    return ListKind(
        name="scales",
        fields=_fields("component"),
        sorts={"app": _VERSION, "name": ("name", "app", "hash")},
        conditions={"deployment": _of_deployment},
        narrowing=frozenset({"deployment"}),
        answers=answers,
        target=_of_app,
    )


def _fields(name: str) -> dict[str, str]:
    return {"app": "app", "component": "component", "hash": "hash", "name": name}


def _of_app(item: _OfVersion) -> Target:
    return Target(app=item.app)


async def _themselves(_view: ListView[Any], items: Sequence[Any]) -> Iterable[object]:
    return items


def _of_deployment(view: ListView[Item], name: str) -> Condition[Item]:
    versions = versions_in_use(_contents_of(name, view.snapshot))

    def matches(item: Item) -> bool:
        return Version(item.app, item.component, item.hash) in versions

    return Condition(matches, versions)


def _contents_of(name: str, snapshot: Snapshot) -> Iterable[Deployment]:
    """Return a deployment, and the content to which it is rolling out."""
    found = snapshot.deployments.get(name)
    rollouts = snapshot.rollouts.get(name)
    rolling = rollouts.rolling if rollouts is not None else None
    return [
        content
        for content in (found, rolling.target if found and rolling else None)
        if content is not None
    ]
