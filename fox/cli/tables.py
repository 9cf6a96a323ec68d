"""Tables for people, drawn by rich; the same columns for programs when piped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from model.errors import Problem

# What is piped is never cut or wrapped.
PIPED_WIDTH = 10_000
# What may take several lines. All else is a name, an id or a figure, of use as a whole only.
FREE_TEXT = {
    "EVENT",
    "HEADERS",
    "MESSAGE",
    "NOT BECAUSE OF",
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
_FREE_WIDTH = 16
_GAP, _NARROW_GAP = 3, 1


class Listing(Table):
    """A table of which gaps and free text give way, and nothing else.

    Where that is not enough, each row is one line, which goes over the edge.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room, or as it has to be."""
        if self._width() > options.max_width:
            self.padding = (0, _NARROW_GAP, 0, 0)
        if self._width(_FREE_WIDTH) > options.max_width:
            yield from self._lines()
        else:
            yield from super().__rich_console__(console, options)

    def _width(self, free_width: int | None = None) -> int:
        """Return the width of the whole, with free text at most so wide."""
        total = self.padding[1] * (len(self.columns) - 1)
        for column in self.columns:
            width = _width_of(column)
            total += width if column.no_wrap or free_width is None else min(width, free_width)
        return total

    def _lines(self) -> Iterator[Text]:
        widths = [_width_of(column) for column in self.columns]
        rows = zip(*(_texts(column) for column in self.columns), strict=True)
        for number, row in enumerate(rows):
            cells = map(set_cell_size, row, widths)
            style = "" if number else str(self.header_style)
            yield Text(" ".join(cells).rstrip(), style, no_wrap=True, overflow="ignore")


def _texts(column: Column) -> list[str]:
    return [str(each) for each in (column.header, *column.cells)]


def _width_of(column: Column) -> int:
    return max(map(cell_len, _texts(column)))


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
        console.print(renderable, crop=False)
        return
    with console.capture() as capture:
        console.print(renderable)
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table without lines; an empty value is shown as a dash."""
    made = Listing(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column in columns:
        made.add_column(column, no_wrap=column not in FREE_TEXT, overflow="fold")
    for row in rows:
        made.add_row(*(str(value) if value not in {None, ""} else "-" for value in row))
    return made


def problems_table(problems: Iterable[Problem]) -> Table:
    """Return one row for each problem."""
    rows = [(each.type, each.path, each.message) for each in problems]
    return table(["PROBLEM", "WHERE", "WHAT"], rows)
