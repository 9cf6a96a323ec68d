"""``fox history``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import zip_longest

import msgspec

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.kinds import DEPLOYMENTS, Rows
from fox.cli.support.options import DeploymentName
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.phrases import age, source_text
from fox.cli.support.tables import print_to, table
from kubefox.deployment import Deployment
from kubefox.rollout import Generations, Rollout

COLUMNS = ("GENERATION", "STATUS", "AGE", "SOURCE", "CHANGED")


def history(
    name: DeploymentName,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List the generations of a deployment, newest first: what it has served before.

    CHANGED names the components that differ from the generation before: + added, - removed,
    ~ changed. `fox undo` restores an earlier generation.
    """
    control = connect(control_url, data_dir)
    document = control.get("v1", DEPLOYMENTS.path, name, "history")
    generations = msgspec.convert(document, Generations)
    show(
        output,
        document,
        lambda: print_to(sys.stdout, table(COLUMNS, _rows(generations, time.time()))),
    )


def _rows(generations: Generations, now_s: float) -> Rows:
    rollout, current = generations.rollout, generations.current
    if rollout is not None:
        yield _row(rollout.target, rollout.phase.value, _time_of(rollout), now_s, rollout.replaces)
    contents = (current, *generations.earlier)
    for deployment, before in zip_longest(contents, generations.earlier):
        status = "current" if deployment is current else "earlier"
        at_s = deployment.activated_at_s or deployment.created_at_s
        yield _row(deployment, status, at_s, now_s, before)


def _time_of(rollout: Rollout) -> float:
    return rollout.ended_at_s or rollout.requested_at_s


def _row(
    deployment: Deployment, status: str, at_s: float, now_s: float, before: Deployment | None
) -> tuple[object, ...]:
    return (
        deployment.generation,
        status,
        age(at_s, now_s),
        source_text(deployment.source),
        " ".join(_changes(before, deployment)) if before is not None else "",
    )


def _changes(before: Deployment, after: Deployment) -> Iterator[str]:
    """Return what a deployment changed, such as ``~api +worker``."""
    old, new = before.components, after.components
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"+{name}"
        elif name not in new:
            yield f"-{name}"
        elif old[name] != new[name]:
            yield f"~{name}"
