"""Output of `fox get`: the objects of one kind, in each of its formats."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from fox.cli.support.kinds import Kind
from fox.cli.support.output import Output
from fox.cli.support.streamed_output import Rows, print_rows, write_documents, write_texts


class ListOutput(StrEnum):
    """Output formats of `fox get`, the values of ``-o``."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"


ListOutputOption = Annotated[
    ListOutput,
    typer.Option(
        "--output",
        "-o",
        help="Output format; wide has more columns, name is one name on each line.",
        case_sensitive=False,
    ),
]


def print_list(kind: Kind, pages: Iterable[list[Any]], output: ListOutput) -> None:
    """Print the documents of a list, page by page.

    Args:
        kind: Kind of the objects.
        pages: Documents of the control API; the first page may be empty.
        output: Output format.
    """
    for_programs = document_format(output)
    if for_programs is not None:
        write_documents(for_programs, pages)
    elif output is ListOutput.NAME:
        write_texts(_names(kind, page) for page in pages)
    else:
        _print_table(kind, pages, is_wide=output is ListOutput.WIDE)


def document_format(output: ListOutput) -> Output | None:
    """Return the format of one document for programs, None if the output is for people."""
    return Output(output.value) if output in {ListOutput.JSON, ListOutput.YAML} else None


def _names(kind: Kind, page: list[Any]) -> str:
    return "".join(f"{kind.name_of(record)}\n" for record in kind.records(page))


def _print_table(kind: Kind, pages: Iterable[list[Any]], *, is_wide: bool) -> None:
    columns = kind.all_columns if is_wide else kind.columns
    if not print_rows(columns, (_rows(kind, page, is_wide=is_wide) for page in pages)):
        sys.stderr.write(f"no {kind.plural_noun}\n")


def _rows(kind: Kind, page: list[Any], *, is_wide: bool) -> Rows:
    rows, now_s = kind.wide_rows if is_wide else kind.rows, time.time()
    return (row for record in kind.records(page) for row in rows(record, now_s))
