"""Every error code: its status and meaning from the class, its cause and cure from errors.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import fox.errors
from docs.generator.markdown import check_complete, code, summary, table
from kubefox.errors import FoxError

CAUSES: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
"""By code: its usual ``cause`` and its ``cure``."""


def codes() -> str:
    """Return a section for error code, by status.

    Raises:
        ValueError: A code has no cause and cure here, or is unknown.
    """
    kinds = {error.code: error for error in _classes(FoxError)}
    # The base has the code of its subclass InternalError, which says what it means.
    kinds.update({error.code: error for error in FoxError.__subclasses__()})
    check_complete("error codes", kinds, CAUSES)
    ordered = sorted(kinds.values(), key=lambda kind: (kind.http_status, kind.code))
    return "\n\n".join(_section(kind) for kind in ordered)


def kit_errors() -> str:
    """Return one row for error class of ``fox.errors``, with a link to its code."""
    kinds: list[type[FoxError]] = [getattr(fox.errors, name) for name in fox.errors.__all__]
    rows = [
        (code(kind.__name__), str(kind.http_status), f"[{code(kind.code)}](#error-{kind.code})")
        for kind in kinds
    ]
    return table(["Class", "Status", "Code"], rows)


def _section(kind: type[FoxError]) -> str:
    found = CAUSES[kind.code]
    return f"""\
(error-{kind.code})=
### `{kind.code}` ({kind.http_status})

{_first_paragraph(kind)} Python class: `{kind.__name__}`.

- Usual cause: {found["cause"]}.
- Cure: {found["cure"]}."""


def _classes(root: type[FoxError]) -> Iterator[type[FoxError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


def _first_paragraph(kind: type[FoxError]) -> str:
    return summary(kind.__doc__).partition("\n\n")[0]
