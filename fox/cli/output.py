"""Standard output: a table for people, or one document for programs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer


class Output(StrEnum):
    """The forms of ``-o``."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="How to print it.", case_sensitive=False)
]


def show(output: Output, document: Any, as_table: Callable[[], None]) -> None:
    """Print what a command found.

    Args:
        output: The form.
        document: Printed for programs; structs come as their fields.
        as_table: Prints it for people.
    """
    if output is Output.TABLE:
        as_table()
    else:
        sys.stdout.write(to_text(output, document))


def to_text(output: Output, document: Any) -> str:
    """Return ``document`` as JSON or YAML, with its line end."""
    plain = msgspec.to_builtins(document)
    if output is Output.JSON:
        return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"
    # yaml takes 35 ms to load, and is seldom asked for.
    text: str = importlib.import_module("yaml").safe_dump(
        plain, sort_keys=False, allow_unicode=True
    )
    return text
