"""Schedules of active releases: what the cron adapter sends ticks to."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from model import subjects
from model.component import Schedule
from model.context import EventContext
from model.deployment import Deployment
from routing.active import ActiveRelease
from routing.snapshot import Snapshot


class ReleasedSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of one component in one released environment.

    Attributes:
        context: What its ticks carry; one object for all schedules of a deployment here.
        deployment: The deployment at the context's revision.
        component: Name of the component.
        hash: Its full hash.
        subject: NATS subject of that component version.
        schedule: As declared.
    """

    context: EventContext
    deployment: Deployment
    component: str
    hash: str
    subject: str
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
    deployment = active.apps[app].deployment
    context = None
    for component, digest in sorted(deployment.components.items()):
        version = snapshot.component(deployment.app, component, digest)
        for schedule in version.definition.schedules if version else ():
            if context is None:
                released = (active.virtual_environment, app)
                context = snapshot.bindings.released(released, active).context
            yield ReleasedSchedule(
                context=context,
                deployment=deployment,
                component=component,
                hash=digest,
                subject=subjects.component(deployment.app, component, digest),
                schedule=schedule,
            )
