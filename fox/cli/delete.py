"""``fox delete``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fox.cli.completion import complete_name
from fox.cli.get import KindArgument
from fox.cli.kinds import (
    DEAD_LETTERS,
    ENVIRONMENTS,
    HTTP_ADAPTERS,
    VIRTUAL_ENVIRONMENTS,
    Kind,
    find_kind,
)
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show

DELETED = (ENVIRONMENTS, VIRTUAL_ENVIRONMENTS, HTTP_ADAPTERS, DEAD_LETTERS)


def delete(
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_name)],
    force: Annotated[
        bool, typer.Option("--force", help="A virtual environment together with its releases.")
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Delete an environment, a virtual environment or an HTTP adapter that is not in use.

    A dead letter is dropped for good: what it asked for is never done. Components' data in the
    state store stays until `fox prune --state`. Deployments go by `fox undeploy`.
    """
    found = _deleted(kind)
    if force and found is not VIRTUAL_ENVIRONMENTS:
        raise typer.BadParameter("only virtual environments are deleted with --force")
    query = {"force": "true"} if force else {}
    connect(control_url, data_dir).delete("v1", found.path, name, **query)

    def as_table() -> None:
        sys.stdout.write(f"{found.noun} {name} is deleted\n")

    show(output, {"kind": found.path, "deleted": name}, as_table)


def _deleted(name: str) -> Kind:
    kind = find_kind(name)
    if kind not in DELETED:
        known = ", ".join(each.path for each in DELETED)
        raise typer.BadParameter(f"{kind.path} cannot be deleted so: expected one of {known}")
    return kind
