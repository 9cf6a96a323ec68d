"""Google docstrings of structs, split into descriptions for the OpenAPI document."""

from __future__ import annotations

import inspect
import re

_ATTRIBUTE = re.compile(r"    (\w+): (.*)")


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the description of a struct, and the description of each attribute by its name.

    Args:
        text: The docstring as it stands in the class.
    """
    description, _, section = inspect.cleandoc(text).partition("\n\nAttributes:\n")
    attributes: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if found := _ATTRIBUTE.fullmatch(line):
            name = found[1]
            attributes[name] = found[2]
        elif name and line.startswith("        "):
            attributes[name] += f" {line.strip()}"
        else:
            name = ""
    return description, attributes


def attributes_of(kind: type) -> dict[str, str]:
    """Return the description of each attribute of a struct, with those that it inherits."""
    described: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        described |= split_docstring(base.__dict__.get("__doc__") or "")[1]
    return described
