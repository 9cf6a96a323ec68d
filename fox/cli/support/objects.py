"""Objects of the control API: one by its name, and many as a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from fox.cli.support.control_client import ControlClient
from fox.cli.support.kinds import IDLE_VERSIONS, Kind
from fox.cli.support.pages import documents
from fox.cli.support.tables import print_to, table
from kubefox.errors import NotFound


def fetch_object(control: ControlClient, kind: Kind, name: str) -> Any:
    """Return the document of one object.

    Raises:
        NotFound: No object has this name.
    """
    if kind is not IDLE_VERSIONS:
        return control.get("v1", kind.path, name)
    # Several versions of a component may be idle, so it has no URL of one of them.
    for document in documents(control, kind.path, limit=1, component=name):
        return document
    raise NotFound(f"{kind.noun} {name} does not exist")


def print_records(kind: Kind, records: Iterable[Any]) -> None:
    """Print records as a table, or a line on standard error if there are none."""
    rows = [row for record in records for row in kind.rows(record, time.time())]
    if rows:
        print_to(sys.stdout, table(kind.columns, rows))
    else:
        sys.stderr.write(f"no {kind.plural_noun}\n")
