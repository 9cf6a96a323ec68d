"""Parsing of ``app.yaml`` and ``component.yaml``: problems name the file and the path in it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from fox.source import yaml_text
from kubefox import printable
from kubefox.decoding import split_message
from kubefox.errors import Problem, ProblemsFound

Spec = TypeVar("Spec")


def parse(content: bytes, kind: type[Spec], file: str) -> Spec:
    """Return a YAML file as a struct.

    Args:
        content: Bytes of the file; an empty file is an empty mapping.
        kind: The struct.
        file: Path of the file, for messages.

    Raises:
        ProblemsFound: The file is not YAML, or does not fit the struct.
    """
    try:
        loaded = yaml_text.document(content)
    except yaml_text.READ_ERRORS as error:
        raise not_valid([problem("InvalidYaml", file, "", yaml_text.reason(error))]) from error
    try:
        return msgspec.convert({} if loaded is None else loaded, kind)
    except msgspec.ValidationError as error:
        fault, path = split_message(error)
        raise not_valid([problem("InvalidField", file, path, fault)]) from error


def problem(kind: str, file: str, path: str, message: str) -> Problem:
    """Return a problem at a dotted path in a file; an empty path means the whole file."""
    place = f"{file}: {path}" if path else file
    # The name of a file may hold any character.
    return Problem(type=kind, message=message, path=printable.one_line(place))


def not_valid(problems: list[Problem]) -> ProblemsFound:
    """Return the error that carries ``problems``, at least one."""
    return ProblemsFound("the app cannot be deployed: its files have problems", tuple(problems))
