"""Warnings: variables that a deployment needs, and that virtual environments of its app lack.

A deploy is not refused because of them, for it does not say where the deployment will be used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from control.listed_names import listed
from kubefox.component import ComponentDefinition
from kubefox.deployment import Deployment
from kubefox.errors import Problem
from routing.snapshot.usage_index import UsageIndex

MAX_UNRELEASED = 10
"""Up to so many virtual environments are all checked while the app is released in none."""

_MAX_SEARCHED = 1_000
"""Virtual environments of one environment among which names for a warning are searched."""


def lacking_variables(
    deployment: Deployment, definitions: Mapping[str, ComponentDefinition], usage: UsageIndex
) -> tuple[Problem, ...]:
    """Return a warning for each variable without a value in some virtual environment.

    The virtual environments are those that share their environment with one in which the app is
    released; while it is released in none, all of a small platform. The cost does not depend on
    their number: a warning counts them, and names some.

    Args:
        deployment: The deployment.
        definitions: Definitions of its components, by name.
        usage: Of the control plane's data.
    """
    needed = sorted(
        {
            (name, variable.name)
            for name, definition in definitions.items()
            for variable in definition.variables
            if variable.is_required
        }
    )
    environments = tuple(_where_used(deployment.app, usage)) if needed else ()
    problems = []
    for component, variable in needed:
        names, count = _lacking(variable, environments, usage)
        if count:
            problems.append(_warning(component, variable, listed(names, count)))
    return tuple(problems)


def _where_used(app: str, usage: UsageIndex) -> Iterable[str]:
    """Return the environments whose virtual environments are checked."""
    snapshot = usage.snapshot
    found: Collection[str] = usage.environments_of(app)
    virtuals = snapshot.virtual_environments
    if not found and len(virtuals) <= MAX_UNRELEASED:
        found = {virtual.environment for virtual in virtuals.values()}
    return (name for name in sorted(found) if name in snapshot.environments)


def _lacking(
    variable: str, environments: Iterable[str], usage: UsageIndex
) -> tuple[list[str], int]:
    """Return some virtual environments without a value for a variable, and how many there are."""
    names: list[str] = []
    count = 0
    for environment in environments:
        if variable in usage.snapshot.environments[environment].data.vars:
            continue
        members, setting = usage.members(environment), usage.setting(environment, variable)
        lacking = len(members) - len(setting)
        if lacking:
            count += lacking
            searched = islice(members, _MAX_SEARCHED)
            names += [name for name in searched if name not in setting]
    return names, count


def _warning(component: str, variable: str, where: str) -> Problem:
    return Problem(
        type="VariableNotFound",
        message=f"{component} requires variable {variable}, which is not set in virtual "
        f"environment {where}",
        path=f"components.{component}.variables.{variable}",
    )
