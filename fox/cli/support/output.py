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
    """Output formats, the values of ``-o``."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="Output format.", case_sensitive=False)
]


def show(output: Output, document: Any, print_table: Callable[[], None]) -> None:
    """Print the result of a command.

    Args:
        output: Output format.
        document: The result for programs; structs are printed as their fields.
        print_table: Prints the result for people.
    """
    if output is Output.TABLE:
        print_table()
    else:
        sys.stdout.write(to_text(output, document))


def to_text(output: Output, document: Any) -> str:
    """Return ``document`` as JSON or YAML, with a line end."""
    plain = msgspec.to_builtins(document)
    if output is Output.JSON:
        return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"
    # Imported here, because yaml takes 35 ms to load and is seldom needed.
    text: str = importlib.import_module("yaml").safe_dump(
        plain, sort_keys=False, allow_unicode=True
    )
    return text
