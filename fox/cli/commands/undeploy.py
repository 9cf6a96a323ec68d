"""``fox undeploy``."""

from __future__ import annotations

import sys

import msgspec

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import DEPLOYMENTS
from fox.cli.support.options import DeploymentName
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.plan_text import print_plan
from kubefox.deployment import Deployment
from kubefox.distill import Plan


def undeploy(
    name: DeploymentName,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Remove a deployment and the pods that only it used.

    The pods finish their requests before they stop.
    """
    control = connect(control_url, data_dir)
    stored: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, name))
    body = {"name": name, "app": stored.app, "components": {}}
    plan = msgspec.convert(control.post("v1", "plans", body=body), Plan)
    control.delete("v1", DEPLOYMENTS.path, name)

    def print_result() -> None:
        print_plan(plan)
        sys.stdout.write(f"deployment {name} is removed\n")

    show(output, {"plan": plan, "removed": name}, print_result)
    sys.stdout.flush()
    wait_followed(control)
