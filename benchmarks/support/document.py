"""Insert results into a page, between two marks; the rest of the page is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; its first column holds text, the others numbers."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def place(page: Path, name: str, text: str) -> None:
    """Replace the section ``name`` of a page; append it if the page has none."""
    begin, end = f"<!-- {name}: measured -->\n", f"<!-- {name}: end -->\n"
    old = page.read_text() if page.exists() else ""
    before, found, rest = old.partition(begin)
    after = rest.partition(end)[2] if found else ""
    page.write_text(f"{before}{begin}{text.strip()}\n{end}{after}")


def placed(page: Path, name: str) -> str:
    """Return the section ``name`` of a page."""
    text = page.read_text().partition(f"<!-- {name}: measured -->\n")[2]
    return text.partition(f"<!-- {name}: end -->\n")[0]
