"""A plan as text: what deploying or undeploying does to pods."""

from __future__ import annotations

import sys

from fox.cli.support.phrases import count
from fox.cli.support.tables import print_to, table
from kubefox.component import short
from kubefox.distill import Plan, Step


def print_plan(plan: Plan) -> None:
    """Print the component versions of a plan, and what happens to the pods of each."""
    rows = [
        (planned.component, short(planned.hash), planned.step.value) for planned in plan.components
    ]
    if rows:
        print_to(sys.stdout, table(["COMPONENT", "HASH", "PODS"], rows))
    sys.stdout.write(f"{summary(plan)}\n")
    sys.stdout.flush()


def summary(plan: Plan) -> str:
    """Return the plan as a line, such as ``1 new pod, 3 reused``."""
    new, reused, unused = (
        plan.count(step) for step in (Step.NEW, Step.REUSED, Step.NO_LONGER_USED)
    )
    if not new and not reused:
        # The plan of an undeploy: it has no components.
        return f"{count(unused, 'pod')} no longer used" if unused else "all pods are still used"
    text = f"{count(new, 'new pod')}, {reused} reused"
    return f"{text}, {unused} no longer used" if unused else text
