"""Tables for people, drawn by rich; piped output has the same columns, without colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from kubefox import printable
from kubefox.errors import Problem

# Wide enough that piped output is never cut or wrapped.
PIPED_WIDTH = 10_000
# Columns that may be wrapped. All others hold names, ids and figures, which must stay whole.
FREE_TEXT = {
    "EVENT",
    "FAILED ON",
    "HEADERS",
    "MESSAGE",
    "REASON",
    "REQUEST",
    "RULE",
    "SECRETS",
    "SOURCE",
    "SPAN",
    "STATUS",
    "URL",
    "VARS",
    "WHAT",
    "WHERE",
}
_MIN_FREE_TEXT_WIDTH = 16
GAP, _NARROW_GAP = 3, 1


class FittingTable(Table):
    """A table that shrinks its gaps first, and then its columns of free text.

    If it is still too wide, each row is printed on one line, which runs over the edge.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._width() > options.max_width:
            self.padding = (0, _NARROW_GAP, 0, 0)
        if self._width(_MIN_FREE_TEXT_WIDTH) > options.max_width:
            yield from self._lines()
        else:
            yield from super().__rich_console__(console, options)

    def _width(self, max_free_text_width: int | None = None) -> int:
        """Return the width of the table, with columns of free text cut to a width."""
        total = self.padding[1] * (len(self.columns) - 1)
        for column in self.columns:
            width = _width_of(column)
            if max_free_text_width is not None and not column.no_wrap:
                width = min(width, max_free_text_width)
            total += width
        return total

    def _lines(self) -> Iterator[Text]:
        widths = [_width_of(column) for column in self.columns]
        rows = zip(*(_texts(column) for column in self.columns), strict=True)
        for number, row in enumerate(rows):
            cells = map(set_cell_size, row, widths)
            style = "" if number else str(self.header_style)
            yield Text(" ".join(cells).rstrip(), style, no_wrap=True, overflow="ignore")


def _texts(column: Column) -> list[str]:
    return [str(cell) for cell in (column.header, *column.cells)]


def _width_of(column: Column) -> int:
    return max(map(cell_len, _texts(column)))


def console_for(stream: IO[str]) -> Console:
    """Return a console for ``stream``, with colours on a terminal only, and not with NO_COLOR.

    Names and values are printed literally, not as rich markup.
    """
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    return console


def print_to(stream: IO[str], renderable: RenderableType) -> None:
    """Print to a stream; lines of piped output have no trailing blanks."""
    console = console_for(stream)
    if console.is_terminal:
        console.print(renderable, crop=False)
        return
    with console.capture() as capture:
        console.print(renderable)
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table without borders; an empty value is shown as a dash."""
    made = FittingTable(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        made.add_column(column, no_wrap=column not in FREE_TEXT, overflow="fold")
    for row in rows:
        made.add_row(*map(cell_text, row))
    return made


def cell_text(value: object) -> str:
    """Return the text of a cell, with control characters shown; an empty value is a dash.

    Clients and components choose paths, names of spans and errors.
    """
    return printable.one_line(str(value)) if value not in {None, ""} else "-"


def problems_table(problems: Iterable[Problem]) -> Table:
    """Return a table with one row for each problem."""
    rows = [(problem.type, problem.path, problem.message) for problem in problems]
    return table(["PROBLEM", "WHERE", "WHAT"], rows)
