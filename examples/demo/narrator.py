"""Output of the demo on the terminal: chapters, commands, and checked results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

CUBE_COLORS = 216  # the colour cube of a terminal, after 16 named colours and black
LABEL_WIDTH = 22


class Unexpected(Exception):
    """A result differs from what the story expects."""


class Narrator:
    """Prints the story, and ends it at the first unexpected result."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Print the heading of a chapter, with its number."""
        self._chapters += 1
        self.say(f"\n[bold]{self._chapters}. {title}[/bold]")

    def say(self, text: str) -> None:
        """Print a text with rich's markup."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def command(self, line: str, output: str = "") -> None:
        """Print a command with its output."""
        self.say(f"  [dim]$[/dim] [cyan]{escape(line)}[/cyan]")
        for output_line in output.splitlines():
            self.say(f"    [dim]{escape(output_line)}[/dim]")

    def done(self, sentence: str) -> None:
        """Print a result with a check mark."""
        self.say(f"  [green]✓[/green] {escape(sentence)}")

    def expect(self, holds: object, sentence: str, found: object = "") -> None:
        """Print a result with a check mark if it holds.

        Raises:
            Unexpected: It does not hold; the message contains ``found``.
        """
        if not holds:
            raise Unexpected(f"{sentence}\n{found}")
        self.done(sentence)

    def fail(self, text: str) -> None:
        """Print the failure that ended the story."""
        self.say(f"  [red]✗ {escape(text)}[/red]")

    def log(self, lines: Iterable[str]) -> None:
        """Print lines of the platform's log."""
        for line in lines:
            self.say(f"    [dim]{escape(line)}[/dim]")

    def link(self, label: str, url: str) -> None:
        """Print a URL to open."""
        self.say(f"  {label:<{LABEL_WIDTH}} [link={url}]{url}[/link]")

    def versions(self, versions: Mapping[str, Mapping[str, str]]) -> None:
        """Print the component versions of each deployment; equal versions have equal colours."""
        components = sorted({name for hashes in versions.values() for name in hashes})
        table = Table(box=None, padding=(0, 1))
        for heading in ("", *components):
            table.add_column(heading)
        for deployment, hashes in versions.items():
            table.add_row(
                f" {deployment}", *(_coloured(hashes.get(name, "")) for name in components)
            )
        self._console.print(table)


def _coloured(digest: str) -> str:
    if not digest:
        return ""
    return f"[color({17 + int(digest[:8], 16) % CUBE_COLORS})]{digest}[/]"
