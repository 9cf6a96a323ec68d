"""A plan, printed: what deploying or undeploying does to pods."""

from __future__ import annotations

import sys

from fox.cli.tables import table, to_stream
from fox.cli.words import count
from model.component import short
from model.distill import Plan, Step


def print_plan(plan: Plan) -> None:
    """Print a plan's component versions and what happens to the pods of each."""
    rows = [(each.component, short(each.hash), each.step.value) for each in plan.components]
    if rows:
        to_stream(table(["COMPONENT", "HASH", "PODS"], rows), sys.stdout)
    sys.stdout.write(f"{summary(plan)}\n")
    sys.stdout.flush()


def summary(plan: Plan) -> str:
    """Return the plan in a line: ``1 new pod, 3 reused``, or what only leaves."""
    new, reused, unused = (
        plan.count(step) for step in (Step.NEW, Step.REUSED, Step.NO_LONGER_USED)
    )
    if not new and not reused:
        # Nothing is deployed: it is a deployment that goes.
        return f"{count(unused, 'pod')} no longer used" if unused else "all pods are still used"
    text = f"{count(new, 'new pod')}, {reused} reused"
    return f"{text}, {unused} no longer used" if unused else text
