"""The story on the terminal: chapters, commands, and what was expected of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

CUBE = 216  # colours of a terminal, from the 17th on
LABEL_WIDTH = 22


class Unexpected(Exception):
    """Something is not as the story says."""


class Teller:
    """Tells the story, and ends it at the first thing that is not so."""

    def __init__(self, console: Console) -> None:
        """Begin before the first chapter."""
        self._console = console
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        self.say(f"\n[bold]{self._chapters}. {title}[/bold]")

    def say(self, text: str) -> None:
        """Say something, in rich's markup."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def command(self, line: str, output: str = "") -> None:
        """Show a command with its output."""
        self.say(f"  [dim]$[/dim] [cyan]{escape(line)}[/cyan]")
        for each in output.splitlines():
            self.say(f"    [dim]{escape(each)}[/dim]")

    def done(self, sentence: str) -> None:
        """Tick off what has come true."""
        self.say(f"  [green]✓[/green] {escape(sentence)}")

    def expect(self, holds: object, sentence: str, found: object = "") -> None:
        """Tick off a sentence if it holds.

        Raises:
            Unexpected: It does not; the text says what was found instead.
        """
        if not holds:
            raise Unexpected(f"{sentence}\n{found}")
        self.done(sentence)

    def fail(self, text: str) -> None:
        """Say how the story ended instead."""
        self.say(f"  [red]✗ {escape(text)}[/red]")

    def log(self, lines: Iterable[str]) -> None:
        """Show what the platform said last."""
        for each in lines:
            self.say(f"    [dim]{escape(each)}[/dim]")

    def link(self, label: str, url: str) -> None:
        """Show a URL to click."""
        self.say(f"  {label:<{LABEL_WIDTH}} [link={url}]{url}[/link]")

    def versions(self, versions: Mapping[str, Mapping[str, str]]) -> None:
        """Show the component versions of each deployment; equal ones have the same colour."""
        components = sorted({name for each in versions.values() for name in each})
        table = Table(box=None, padding=(0, 1))
        for heading in ("", *components):
            table.add_column(heading)
        for name, parts in versions.items():
            table.add_row(f" {name}", *(_coloured(parts.get(each, "")) for each in components))
        self._console.print(table)


def _coloured(digest: str) -> str:
    if not digest:
        return ""
    return f"[color({17 + int(digest[:8], 16) % CUBE})]{digest}[/]"
