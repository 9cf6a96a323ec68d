"""Markdown building blocks: tables, and the fields that a Google docstring describes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

_SECTION = re.compile(r"^(?P<name>[A-Z]\w+):$")
_FIELD = re.compile(r"^ {4}(?P<name>\w+): (?P<text>.*)$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; every cell is one line of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code(text: object) -> str:
    """Return a text as inline code."""
    return f"`{text}`"


def prose(text: str) -> str:
    """Return a docstring's text as Markdown: its inline code has two backticks."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def summary(docstring: str | None) -> str:
    """Return the text of a docstring before its first section."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    end = next((at for at, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    return prose("\n".join(lines[:end]).strip())


def fields(docstring: str | None, section: str = "Attributes") -> dict[str, str]:
    """Return the description of each field in a section of a Google docstring, by its name."""
    found: dict[str, str] = {}
    inside, name = False, ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if heading := _SECTION.match(line):
            inside = heading["name"] == section
        elif inside and (field := _FIELD.match(line)):
            name = field["name"]
            found[name] = field["text"]
        elif inside and name and line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
    return {name: prose(text) for name, text in found.items()}


def check_complete(subject: str, wanted: Iterable[str], described: Mapping[str, object]) -> None:
    """Fail the build unless exactly the wanted names are described.

    Raises:
        ValueError: Names each one that is missing or unknown.
    """
    names = set(wanted)
    wrong = [
        *(f"{name} is not described" for name in sorted(names - set(described))),
        *(f"{name} is described but does not exist" for name in sorted(set(described) - names)),
    ]
    if wrong:
        raise ValueError(f"{subject}: {'; '.join(wrong)}")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
