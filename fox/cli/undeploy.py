"""``fox undeploy``."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from fox.cli.completion import complete_deployment
from fox.cli.kinds import DEPLOYMENTS
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.plan import print_plan
from model.deployment import Deployment
from model.distill import Plan


def undeploy(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_deployment)],
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Remove a deployment; pods that no other one uses stop after what they have in hand."""
    control = connect(control_url, data_dir)
    there: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, name))
    body = {"name": name, "app": there.app, "components": {}}
    plan = msgspec.convert(control.post("v1", "plans", body=body), Plan)
    control.delete("v1", DEPLOYMENTS.path, name)

    def as_table() -> None:
        print_plan(plan)
        sys.stdout.write(f"deployment {name} is removed\n")

    show(output, {"plan": plan, "removed": name}, as_table)
