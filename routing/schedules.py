"""Schedules of active releases: what the cron adapter sends ticks to."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from model import subjects
from model.component import Schedule
from model.event import NO_ROUTE
from routing.active import ActiveRelease
from routing.bindings import Target
from routing.snapshot import Snapshot


class ReleasedSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of one component in one released environment.

    Attributes:
        target: Where its ticks go: without a route, the same object for all of a component.
        schedule: As declared.
    """

    target: Target
    schedule: Schedule


def released_schedules(snapshot: Snapshot) -> Iterator[ReleasedSchedule]:
    """Return every schedule of every complete app of every active release, by environment.

    Only releases that have any are looked at, however many there are.
    """
    for name in sorted(snapshot.plain.ticking):
        active = snapshot.plain.active[name]
        for app in sorted(active.apps):
            if active.apps[app].has_schedules:
                yield from _schedules(active, app, snapshot)


def _schedules(active: ActiveRelease, app: str, snapshot: Snapshot) -> Iterator[ReleasedSchedule]:
    released, deployment = active.apps[app].released, active.apps[app].deployment
    context = snapshot.bindings.released(released, snapshot.plain, snapshot.records).context
    for component, digest in sorted(deployment.components.items()):
        version = snapshot.component(deployment.app, component, digest)
        if version is None or not version.definition.schedules:
            continue
        target = Target(
            context=context,
            deployment=deployment,
            component=component,
            hash=digest,
            subject=subjects.component(deployment.app, component, digest),
            route=NO_ROUTE,
        )
        for schedule in version.definition.schedules:
            yield ReleasedSchedule(target=target, schedule=schedule)
