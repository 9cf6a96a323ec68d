"""``fox delete``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import (
    DEAD_LETTERS,
    DELETABLE,
    DEPLOYMENTS,
    VIRTUAL_ENVIRONMENTS,
    Kind,
    find_kind,
)
from fox.cli.support.options import DeletableKindName, ObjectName
from fox.cli.support.output import Output, OutputOption, show


def delete(
    kind: DeletableKindName,
    name: ObjectName,
    force: Annotated[
        bool,
        typer.Option("--force", help="Delete a virtual environment together with its releases."),
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Delete an environment, a virtual environment, an HTTP adapter or a dead letter.

    An object that is in use is not deleted. The event of a deleted dead letter is lost. The
    components' data in the state store stays until `fox prune --state`. To remove a deployment,
    use `fox undeploy NAME`.
    """
    found = _deletable_kind(kind, name)
    if force and found is not VIRTUAL_ENVIRONMENTS:
        raise typer.BadParameter("--force is for virtual environments only")
    query = {"force": "true"} if force else {}
    control = connect(control_url, data_dir)
    control.delete("v1", found.path, name, **query)

    def print_result() -> None:
        sys.stdout.write(f"{found.noun} {name} is deleted\n")

    show(output, {"kind": found.path, "deleted": name}, print_result)
    sys.stdout.flush()
    if found is not DEAD_LETTERS:
        wait_followed(control)


def _deletable_kind(kind_name: str, name: str) -> Kind:
    kind = find_kind(kind_name)
    if kind is DEPLOYMENTS:
        raise typer.BadParameter(f"to remove a deployment, use `fox undeploy {name}`")
    if kind not in DELETABLE:
        known = ", ".join(deletable.path for deletable in DELETABLE)
        raise typer.BadParameter(f"{kind.plural_noun} cannot be deleted: expected one of {known}")
    return kind
