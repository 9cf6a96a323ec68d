"""The variables that components declare, compared with the values of an environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubefox.component import ComponentDefinition, Value, Variable, VariableType
from kubefox.errors import Problem
from kubefox.steps import Steps

_VARIABLES_A_STEP = 256


def variable_problems(
    definitions: Mapping[str, ComponentDefinition], variables: Mapping[str, Value], above: str
) -> Steps[list[Problem]]:
    """Find the declared variables that have no value, or a value of another type, in steps.

    Args:
        definitions: Definitions of components, by name.
        variables: All values of an environment.
        above: Begin of the problems' paths, empty or with a dot at its end.
    """
    problems: list[Problem] = []
    for name, definition in sorted(definitions.items()):
        for number, variable in enumerate(definition.variables, 1):
            path = f"{above}components.{name}.variables.{variable.name}"
            problems += _variable_problem(name, variable, variables, path)
            if number % _VARIABLES_A_STEP == 0:
                yield
        yield
    return problems


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
