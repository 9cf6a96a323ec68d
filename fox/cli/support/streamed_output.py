"""Output of any length: each page is printed when it arrives, and forgotten."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from rich.cells import cell_len
from rich.text import Text

from fox.cli.support.output import Output
from fox.cli.support.tables import GAP, cell_text, console_for, print_to, table

# A longer table does not fit on a screen anyway, and rich takes 0.4 ms for each row.
_MAX_FITTED_ROWS = 100

Rows = Iterable[Sequence[object]]


def write_texts(texts: Iterable[str]) -> None:
    """Write texts to standard output, each at once."""
    for text in texts:
        sys.stdout.write(text)
        sys.stdout.flush()


def write_documents(output: Output, pages: Iterable[list[Any]]) -> None:
    """Write the documents of all pages as one JSON array or YAML sequence."""
    write_texts(_json_texts(pages) if output is Output.JSON else _yaml_texts(pages))


def print_rows(columns: Sequence[str], pages: Iterable[Rows]) -> bool:
    """Print the rows of all pages as one table, and return whether there are any.

    The columns are as wide as the first page needs; a longer cell moves the rest of its row on. A
    short table fits to the terminal.
    """
    further = ([[*map(_cell, row)] for row in rows] for rows in pages)
    first = next(further, [])
    if len(first) > _MAX_FITTED_ROWS:
        _print_lines(columns, chain([first], further))
        return True
    second = next(further, None)
    if second is not None:
        _print_lines(columns, chain([first, second], further))
    elif first:
        print_to(sys.stdout, table(columns, first))
    return bool(first)


def _json_texts(pages: Iterable[list[Any]]) -> Iterator[str]:
    """Yield the parts of one JSON array, as ``fox.cli.support.output`` formats it."""
    begin = "[\n"
    for page in filter(None, pages):
        text = msgspec.json.format(msgspec.json.encode(page), indent=2).decode()
        yield begin + text.removeprefix("[\n").removesuffix("\n]")
        begin = ",\n"
    yield "[]\n" if begin == "[\n" else "\n]\n"


def _yaml_texts(pages: Iterable[list[Any]]) -> Iterator[str]:
    """Yield the parts of one YAML sequence."""
    yaml = importlib.import_module("yaml")
    # The dumper in C takes a tenth of the time; not every PyYAML has it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    is_empty = True
    for page in filter(None, pages):
        is_empty = False
        yield yaml.dump(page, Dumper=dumper, sort_keys=False, allow_unicode=True)
    if is_empty:
        yield "[]\n"


def _print_lines(columns: Sequence[str], pages: Iterable[list[list[str]]]) -> None:
    widths: list[int] | None = None
    for rows in pages:
        if widths is None:
            widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
            _print_header(_line(columns, widths))
        write_texts(["".join(f"{_line(row, widths)}\n" for row in rows)])


def _print_header(line: str) -> None:
    console = console_for(sys.stdout)
    if console.is_terminal:
        console.print(Text(line, "bold"), soft_wrap=True)
    else:
        sys.stdout.write(f"{line}\n")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return (" " * GAP).join(padded).rstrip()


def _cell(value: object) -> str:
    text = cell_text(value)
    return text if text.isprintable() else " ".join(text.split())


def _width(cell: str) -> int:
    return len(cell) if cell.isascii() else cell_len(cell)
