"""The types that variables of the environment can have."""

from __future__ import annotations

from kubefox.component import VariableType
from kubefox.errors import InvalidRequest

_TYPES: dict[type, VariableType] = {
    str: VariableType.STRING,
    int: VariableType.NUMBER,
    float: VariableType.NUMBER,
    bool: VariableType.BOOLEAN,
    list: VariableType.LIST,
}


def variable_type(name: str, kind: type) -> VariableType:
    """Return the type of a variable for a Python type.

    Raises:
        InvalidRequest: A variable cannot have this type.
    """
    if kind not in _TYPES:
        known = ", ".join(known.__name__ for known in _TYPES)
        raise InvalidRequest(
            f"variable {name} cannot have type {kind.__name__}: use one of {known}"
        )
    return _TYPES[kind]
