"""``fox get``."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from fox.cli.client import Control
from fox.cli.completion import complete_kind, complete_name
from fox.cli.kinds import PODS, SLEEPERS, Kind, find_kind
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.tables import table, to_stream
from model.errors import NotFound

KindArgument = Annotated[str, typer.Argument(metavar="KIND", autocompletion=complete_kind)]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", autocompletion=complete_name, show_default=False)
]


def get(
    kind: KindArgument,
    name: NameArgument = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List one kind, or show the one called NAME.

    KIND is deployments, pods, sleepers, releases, environments, virtual-environments,
    http-adapters or dead-letters; dep, env, ve and dl are short for some. Releases go by the name
    of their virtual environment, dead letters by their id. Sleepers are component versions that
    nobody uses: they have no pod until their next event.
    """
    wanted = find_kind(kind)
    control = connect(control_url, data_dir)
    document = fetch(control, wanted, name) if name else control.get("v1", wanted.path)
    records = [wanted.record_of(document)] if name else wanted.records(document)
    show(output, document, lambda: print_table(wanted, records))
    if wanted is PODS and not name and output is Output.TABLE:
        _print_sleepers(control)


def _print_sleepers(control: Control) -> None:
    """Print which versions have no pod, below those that have; nothing if none sleeps."""
    if sleepers := SLEEPERS.records(control.get("v1", SLEEPERS.path)):
        sys.stdout.write("\n")
        print_table(SLEEPERS, sleepers)


def fetch(control: Control, kind: Kind, name: str) -> Any:
    """Return one object as the control API has it.

    Raises:
        NotFound: There is none of this name.
    """
    if kind not in (PODS, SLEEPERS):
        return control.get("v1", kind.path, name)
    for each in control.get("v1", kind.path):
        if kind.name_of(kind.record_of(each)) == name:
            return each
    raise NotFound(f"there is no {kind.noun} {name}")


def print_table(kind: Kind, records: list[Any]) -> None:
    """Print records for people, or that there are none."""
    rows = [row for record in records for row in kind.rows(record, time.time())]
    if rows:
        to_stream(table(kind.columns, rows), sys.stdout)
    else:
        sys.stderr.write(f"no {kind.path.replace('-', ' ')}\n")
