"""Tables for people, drawn by rich; the same columns for programs when piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from rich.console import Console, RenderableType
from rich.table import Table

from model.errors import Problem

# What is piped is never cut or wrapped.
PIPED_WIDTH = 10_000


def console_for(stream: IO[str]) -> Console:
    """Return a console for ``stream``: colours on a terminal only, and not with NO_COLOR.

    Names and values are printed as they are, not read as markup.
    """
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    return console


def to_stream(renderable: RenderableType, stream: IO[str]) -> None:
    """Print one thing; what is piped has no blanks at the ends of its lines."""
    console = console_for(stream)
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as capture:
        console.print(renderable)
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table without lines; an empty value is shown as a dash."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for row in rows:
        made.add_row(*(str(value) if value not in {None, ""} else "-" for value in row))
    return made


def problems_table(problems: Iterable[Problem]) -> Table:
    """Return one row for each problem."""
    rows = [(each.type, each.path, each.message) for each in problems]
    return table(["PROBLEM", "WHERE", "WHAT"], rows)
