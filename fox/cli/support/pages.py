"""Lists of the control API, read page by page: only one page is in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from fox.cli.support.control_client import ControlClient
from kubefox.errors import ContinueExpired

PAGE_OBJECTS = 500
"""Objects of a page; a page of 500 deployments is 0.2 MB."""


def pages(
    control: ControlClient, path: str, *, limit: int | None = None, **query: object
) -> Iterator[list[Any]]:
    """Yield the documents of a list, page by page; an empty list has one empty page.

    If the list takes so long that its revision is not kept any more, the rest shows a newer one,
    and a warning on standard error says so.

    Args:
        control: The control API.
        path: Path of the list below ``/v1``.
        limit: Objects of all pages at most.
        query: Filters and sort; those with the value None are left out.
    """
    token, left = None, limit
    while True:
        wanted = PAGE_OBJECTS if left is None else min(PAGE_OBJECTS, left)
        try:
            page = control.get("v1", path, limit=wanted, **query, **{"continue": token})
        except ContinueExpired as error:
            if not error.restart:
                raise
            sys.stderr.write(
                f"warning: {path} have changed since the first page: the rest shows a newer "
                "revision\n"
            )
            token = error.restart
            continue
        yield page["items"]
        token = page["continue"]
        left = None if left is None else left - len(page["items"])
        if not token or left == 0:
            return


def documents(
    control: ControlClient, path: str, *, limit: int | None = None, **query: object
) -> Iterator[Any]:
    """Yield the documents of a list; see ``pages``."""
    for page in pages(control, path, limit=limit, **query):
        yield from page
