"""Reads ``app.yaml`` and ``component.yaml``: every complaint names the file and the place in it."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from fox.source import yaml_text
from model import printable
from model.errors import Problem, ProblemsFound

Spec = TypeVar("Spec")
_PLACE = re.compile(r"(?P<what>.*) - at `(?:key in )?\$\.?(?P<where>.*)`", re.DOTALL)


def parse(content: bytes, kind: type[Spec], file: str) -> Spec:
    """Return a YAML file as a struct.

    Args:
        content: Bytes of the file; an empty one is an empty mapping.
        kind: The struct.
        file: Its path, for messages.

    Raises:
        ProblemsFound: It is not YAML, or not of that kind.
    """
    try:
        loaded = yaml_text.document(content)
    except yaml_text.NOT_YAML as error:
        raise not_valid([problem("InvalidYaml", file, "", yaml_text.reason(error))]) from error
    try:
        return msgspec.convert({} if loaded is None else loaded, kind)
    except msgspec.ValidationError as error:
        what, where = located(error)
        raise not_valid([problem("InvalidField", file, where, what)]) from error


def located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return what msgspec finds wrong, and the dotted path where; empty for the whole."""
    found = _PLACE.fullmatch(str(error))
    return (found["what"], found["where"]) if found else (str(error), "")


def problem(kind: str, file: str, where: str, message: str) -> Problem:
    """Return a problem at a dotted path in a file; an empty path means the whole file."""
    path = f"{file}: {where}" if where else file
    # A file may be called anything.
    return Problem(type=kind, message=message, path=printable.one_line(path))


def not_valid(problems: list[Problem]) -> ProblemsFound:
    """Return the error that carries ``problems``, at least one."""
    return ProblemsFound("the app cannot be deployed as it is", tuple(problems))
