"""What stands in the way of a deployment or a release: every problem at once.

A deployment is checked by itself; a release against the variables it will have and against what is
released elsewhere. An empty result means that routing can use it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from model.component import (
    ComponentDefinition,
    Dependency,
    DependencyKind,
    Value,
    Variable,
    VariableType,
    short,
)
from model.deployment import Deployment
from model.errors import Problem
from routing.active import definitions_of
from routing.compiled import compile_rule
from routing.conflicts import (
    ANY_VALUES,
    PlacedRoute,
    conflicts_elsewhere,
    conflicts_for_any_values,
    conflicts_within,
)
from routing.matcher import ComponentRoutes, RouteTable, compile_table, place
from routing.rule import RuleError
from routing.snapshot import Snapshot

Definitions = Mapping[str, ComponentDefinition]


def deployment_problems(
    deployment: Deployment, definitions: Definitions, adapters: Collection[str] = ()
) -> tuple[Problem, ...]:
    """Return what keeps a deployment from being used, whatever its environment.

    Args:
        deployment: Its components name the definitions.
        definitions: By component name.
        adapters: Kinds of adapters that the platform has.
    """
    return tuple(_deployment_problems(deployment, definitions, adapters))


def release_problems(
    virtual_environment: str,
    deployments: Mapping[str, Deployment],
    variables: Mapping[str, Value],
    snapshot: Snapshot,
) -> tuple[Problem, ...]:
    """Return what keeps a release from becoming active.

    Args:
        virtual_environment: Where; what is active there now is being replaced.
        deployments: By app name, the ones kept from the release before included.
        variables: Overlaid values the release will have.
        snapshot: Holds the component versions and what is released elsewhere.
    """
    problems, placed = _examined(deployments, variables, snapshot)
    problems += conflicts_within(placed)
    problems += conflicts_elsewhere(virtual_environment, placed, snapshot)
    return tuple(problems)


def use_problems(
    deployments: Mapping[str, Deployment], variables: Mapping[str, Value], snapshot: Snapshot
) -> tuple[Problem, ...]:
    """Return what of an active release cannot be used: as ``release_problems``, but for ties.

    Of routes that tie the later release has its requests, so they are no reason to refuse a change.
    """
    problems, _ = _examined(deployments, variables, snapshot)
    return tuple(problems)


def value_problems(definitions: Definitions, variables: Mapping[str, Value]) -> tuple[Problem, ...]:
    """Return what of a deployment's components cannot be used with some values."""
    table = compile_table(_routes(definitions), [variables])
    return (*_variable_problems(definitions, variables, ""), *table.problems)


def _examined(
    deployments: Mapping[str, Deployment], variables: Mapping[str, Value], snapshot: Snapshot
) -> tuple[list[Problem], list[PlacedRoute]]:
    """Return what is wrong with a release by itself, and the routes that can be used."""
    problems: list[Problem] = []
    placed: list[PlacedRoute] = []
    for app, deployment in sorted(deployments.items()):
        definitions, missing = definitions_of(deployment, snapshot.records)
        problems += _absent(deployment, definitions, f"apps.{app}.") if missing else ()
        problems += _variable_problems(definitions, variables, f"apps.{app}.")
        table = compile_table(_routes(definitions), [variables])
        problems += _moved_below(table.problems, f"apps.{app}.")
        placed += _placed(table, f"apps.{app}.")
    return problems, placed


def _deployment_problems(
    deployment: Deployment, definitions: Definitions, adapters: Collection[str]
) -> Iterator[Problem]:
    yield from _absent(deployment, definitions, "")
    for name, definition in sorted(definitions.items()):
        yield from _rule_problems(definition)
        for at, dependency in enumerate(definition.dependencies):
            path = f"components.{name}.dependencies[{at}]"
            yield from _dependency_problems(dependency, definitions, adapters, path)
    table = compile_table(_routes(definitions), ANY_VALUES)
    yield from conflicts_for_any_values(_placed(table, ""))


def _absent(deployment: Deployment, definitions: Definitions, above: str) -> Iterator[Problem]:
    for name, digest in sorted(deployment.components.items()):
        if name not in definitions:
            yield Problem(
                type="ComponentNotFound",
                message=f"deployment {deployment.name} names {name}@{short(digest)}, "
                "which the platform does not hold",
                path=f"{above}components.{name}",
            )


def _rule_problems(definition: ComponentDefinition) -> Iterator[Problem]:
    for route in definition.routes:
        try:
            compile_rule(route.rule)
        except RuleError as error:
            yield Problem(
                type=error.kind,
                message=f"rule {route.rule}: {error.detail}",
                path=place(definition.name, route),
            )


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


def _variable_problems(
    definitions: Definitions, variables: Mapping[str, Value], above: str
) -> Iterator[Problem]:
    for name, definition in sorted(definitions.items()):
        for variable in definition.variables:
            path = f"{above}components.{name}.variables.{variable.name}"
            yield from _variable_problem(name, variable, variables, path)


def _variable_problem(
    component: str, variable: Variable, variables: Mapping[str, Value], path: str
) -> Iterator[Problem]:
    if variable.name not in variables:
        if variable.is_required:
            message = f"{component} requires variable {variable.name}, which is not set"
            yield Problem(type="VariableNotFound", message=message, path=path)
        return
    value = variables[variable.name]
    if not _is_of_type(value, variable.type):
        message = f"{component} needs variable {variable.name} as {variable.type.value}"
        yield Problem(type="VariableType", message=f"{message}, not {value!r}", path=path)


def _is_of_type(value: Value, expected: VariableType) -> bool:
    match expected:
        case VariableType.STRING:
            return isinstance(value, str)
        case VariableType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case VariableType.BOOLEAN:
            return isinstance(value, bool)
        case VariableType.LIST:
            return isinstance(value, list)


def _routes(definitions: Definitions) -> Iterator[ComponentRoutes]:
    for name, definition in sorted(definitions.items()):
        yield ComponentRoutes(name, definition.routes)


def _placed(table: RouteTable, above: str) -> list[PlacedRoute]:
    routes = sorted(table.routes, key=lambda each: (each.component, each.route.id))
    return [PlacedRoute(each, f"{above}{each.place}") for each in routes]


def _moved_below(problems: Iterable[Problem], above: str) -> Iterator[Problem]:
    for each in problems:
        yield Problem(type=each.type, message=each.message, path=f"{above}{each.path}")
