"""Schedules of active releases, for which the cron adapter sends events."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kubefox import subjects
from kubefox.component import Schedule
from kubefox.event import NO_ROUTE
from routing.snapshot.active_release import ActiveApp
from routing.snapshot.route_binding import Target
from routing.snapshot.snapshot import Snapshot


class ReleasedSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of one component in one released environment.

    Attributes:
        target: Receiver of its events; no route; the same object for all schedules of a component.
        schedule: The schedule as declared.
    """

    target: Target
    schedule: Schedule


def released_schedules(snapshot: Snapshot) -> Iterator[ReleasedSchedule]:
    """Return every schedule of every complete app of every active release, by environment.

    Reads only the releases that have schedules.
    """
    for name in sorted(snapshot.release_index.scheduled):
        apps = snapshot.release_index.active_releases[name].apps
        for app in sorted(apps):
            if apps[app].has_schedules:
                yield from _schedules(apps[app], snapshot)


def _schedules(app: ActiveApp, snapshot: Snapshot) -> Iterator[ReleasedSchedule]:
    deployment = app.deployment
    context = snapshot.binding_of(app.released).context
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
