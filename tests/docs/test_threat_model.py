"""The threat model names a test for each defence."""

from __future__ import annotations

import re

from tests.e2e.documents import PROJECT, page

_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_PATH = re.compile(r"`(tests/[a-z_0-9/]+(?:\.py)?)`")


def defences() -> list[str]:
    """Return the rows of the tables of defences, without their heads."""
    section = page("explanation/security").partition("## Defences")[2].partition("## Not ")[0]
    rows = [row for row in _ROW.findall(section) if not row.startswith(("| Promise", "|--"))]
    assert rows
    return rows


def test_each_defence_names_tests_that_exist() -> None:
    named = {row: _PATH.findall(row.rsplit("|", 2)[1]) for row in defences()}

    assert [row for row, paths in named.items() if not paths] == []
    missing = [path for paths in named.values() for path in paths if not (PROJECT / path).exists()]
    assert missing == []
