"""Validate deployments and releases: return all problems at once.

A deployment is validated by itself; a release together with its variables and the other active
releases. An empty result means that routing can use it. A check takes long with many routes, so
all of them work in steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec.structs import replace

from kubefox.component import (
    ComponentDefinition,
    Dependency,
    DependencyKind,
    Value,
    short,
)
from kubefox.deployment import Deployment
from kubefox.errors import Problem
from kubefox.steps import Steps
from routing.conflicts import (
    ANY_VALUES,
    PlacedRoute,
    conflicts_elsewhere,
    conflicts_for_any_values,
    conflicts_within,
)
from routing.language.rule import RuleError
from routing.snapshot.content_rules import definitions_of
from routing.snapshot.snapshot import Snapshot
from routing.table.compiled_rule import compile_rule
from routing.table.matcher import CompiledRoute, ComponentRoutes, compile_routes, rule_path
from routing.variables import variable_problems

MAX_ROUTES = 200
"""Routes of a deployment. A decision may have to try all of them."""

Definitions = Mapping[str, ComponentDefinition]


def deployment_problems(
    deployment: Deployment, definitions: Definitions, adapters: Collection[str] = ()
) -> Steps[tuple[Problem, ...]]:
    """Find, in steps, the problems of a deployment that exist in every environment.

    Args:
        deployment: The deployment.
        definitions: The definitions of its components, by component name.
        adapters: Kinds of adapters that the platform has.
    """
    problems = [*_missing_components(deployment, definitions, "")]
    count = sum(len(definition.routes) for definition in definitions.values())
    if count > MAX_ROUTES:
        message = f"the components have {count:,} routes: a deployment has at most {MAX_ROUTES}"
        return (*problems, Problem(type="TooManyRoutes", message=message, path="components"))
    for name, definition in sorted(definitions.items()):
        problems += yield from _rule_problems(definition)
        for at, dependency in enumerate(definition.dependencies):
            path = f"components.{name}.dependencies[{at}]"
            problems += _dependency_problems(dependency, definitions, adapters, path)
            yield
    compiled = yield from compile_routes(_routes(definitions), ANY_VALUES)
    problems += yield from conflicts_for_any_values(_placed(compiled.routes, ""))
    return tuple(problems)


def release_problems(
    virtual_environment: str,
    deployments: Mapping[str, Deployment],
    variables: Mapping[str, Value],
    snapshot: Snapshot,
) -> Steps[tuple[Problem, ...]]:
    """Find, in steps, the problems that keep a release from becoming active.

    Args:
        virtual_environment: Name of the virtual environment, whose active release is replaced.
        deployments: Deployment of each app, including apps taken over from the release before.
        variables: Overlaid values that the release will have.
        snapshot: Holds the component versions and the other active releases.
    """
    problems, placed = yield from _checked(deployments, variables, snapshot)
    problems += yield from conflicts_within(placed)
    problems += yield from conflicts_elsewhere(virtual_environment, placed, snapshot)
    return tuple(problems)


def use_problems(
    deployments: Mapping[str, Deployment], variables: Mapping[str, Value], snapshot: Snapshot
) -> Steps[tuple[Problem, ...]]:
    """Find the problems of an active release, like ``release_problems`` but without conflicts.

    The later release wins a tie, so a tie is no reason to refuse a change of values.
    """
    problems, _ = yield from _checked(deployments, variables, snapshot)
    return tuple(problems)


def value_problems(
    definitions: Definitions, variables: Mapping[str, Value]
) -> Steps[tuple[Problem, ...]]:
    """Find, in steps, the problems of a deployment's components with some values."""
    compiled = yield from compile_routes(_routes(definitions), [variables])
    problems = yield from variable_problems(definitions, variables, "")
    return (*problems, *compiled.problems)


def _checked(
    deployments: Mapping[str, Deployment], variables: Mapping[str, Value], snapshot: Snapshot
) -> Steps[tuple[list[Problem], list[PlacedRoute]]]:
    """Return the problems of a release by itself, and its usable routes."""
    problems: list[Problem] = []
    placed: list[PlacedRoute] = []
    for app, deployment in sorted(deployments.items()):
        above = f"apps.{app}."
        definitions, missing = definitions_of(deployment, snapshot.records)
        problems += _missing_components(deployment, definitions, above) if missing else ()
        problems += yield from variable_problems(definitions, variables, above)
        compiled = yield from compile_routes(_routes(definitions), [variables])
        problems += _moved_below(compiled.problems, above)
        placed += _placed(compiled.routes, above)
    return problems, placed


def _missing_components(
    deployment: Deployment, definitions: Definitions, above: str
) -> Iterator[Problem]:
    for name, digest in sorted(deployment.components.items()):
        if name not in definitions:
            yield Problem(
                type="ComponentNotFound",
                message=f"deployment {deployment.name} uses {name}@{short(digest)}, "
                "which the platform does not have",
                path=f"{above}components.{name}",
            )


def _rule_problems(definition: ComponentDefinition) -> Steps[list[Problem]]:
    problems = []
    for route in definition.routes:
        try:
            compile_rule(route.rule)
        except RuleError as error:
            problem = Problem(
                type=error.kind,
                message=f"rule {route.rule}: {error.detail}",
                path=rule_path(definition.name, route),
            )
            problems.append(problem)
        yield
    return problems


def _dependency_problems(
    dependency: Dependency, definitions: Definitions, adapters: Collection[str], path: str
) -> Iterator[Problem]:
    name = dependency.name
    if dependency.kind is DependencyKind.ADAPTER:
        if name not in adapters:
            known = ", ".join(sorted(adapters)) or "none"
            message = f"no adapter is named {name}; there are: {known}"
            yield Problem(type="AdapterNotFound", message=message, path=path)
    elif name not in definitions:
        known = ", ".join(sorted(definitions))
        message = f"no component of the app is named {name}; there are: {known}"
        yield Problem(type="DependencyNotFound", message=message, path=path)
    elif not definitions[name].has_default_handler:
        message = f"component {name} has no default handler, which calls from components need"
        yield Problem(type="DefaultHandlerNotFound", message=message, path=path)


def _routes(definitions: Definitions) -> Iterator[ComponentRoutes]:
    for name, definition in sorted(definitions.items()):
        yield ComponentRoutes(name, definition.routes)


def _placed(routes: Iterable[CompiledRoute], above: str) -> list[PlacedRoute]:
    in_order = sorted(routes, key=lambda route: (route.component, route.route.id))
    return [PlacedRoute(route, f"{above}{route.rule_path}") for route in in_order]


def _moved_below(problems: Iterable[Problem], above: str) -> Iterator[Problem]:
    return (replace(problem, path=f"{above}{problem.path}") for problem in problems)
