"""``fox deploy``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fox.cli.client import Control
from fox.cli.completion import complete_deployment
from fox.cli.kinds import DEPLOYMENTS
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.options import AppDir, Timeout, Wait
from fox.cli.output import Output, OutputOption, show
from fox.cli.plan import print_plan
from fox.cli.pods import Serving, wait_ready
from fox.cli.upload import upload_bundles
from fox.cli.words import count
from fox.source.app import AppSource, find_app, read_app
from fox.source.check import APP_FILE
from fox.source.export import export_definitions
from fox.source.naming import check_free, default_name
from model.component import ComponentVersion
from model.deployment import Deployment
from model.distill import Plan, Step
from model.errors import NotFound
from model.pod import PodStatus, Sleeper


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What ``-o json`` prints.

    Attributes:
        plan: What the deployment means for pods.
        deployment: As it is stored; None after ``--dry-run``.
        pods: Of the deployment, once they are ready; empty without ``--wait``.
        sleepers: Its component versions that run already, but for having no pod while nobody
            uses them; empty without ``--wait``.
    """

    plan: Plan
    deployment: Deployment | None = None
    pods: tuple[PodStatus, ...] = ()
    sleepers: tuple[Sleeper, ...] = ()


def deploy(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Name of the deployment.",
            show_default="APP-(VERSION|BRANCH|TAG|COMMIT)",
            autocompletion=complete_deployment,
        ),
    ] = None,
    app_dir: AppDir = None,
    ref: Annotated[
        str | None,
        typer.Option("--ref", metavar="REF", help="Branch, tag or commit.", show_default="HEAD"),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="VERSION", help="With one, it can never change."),
    ] = None,
    is_dirty: Annotated[
        bool, typer.Option("--dirty", help="Take the files as they are, uncommitted ones too.")
    ] = False,
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    wait: Wait = True,
    timeout_s: Timeout = 60,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Deploy an app: only the components that changed get new pods.

    The committed app is deployed. The plan comes first: which pods are new, which are reused.
    """
    if ref == "":
        raise typer.BadParameter("--ref is empty: expected a branch, tag or commit")
    if ref is not None and is_dirty:
        raise typer.BadParameter("--dirty takes the working tree, so it has no --ref")
    app = read_app(_app_folder(app_dir), ref=ref, is_dirty=is_dirty)
    control = connect(control_url, data_dir)
    wanted = _deployment(control, app, name, version)
    plan = _plan(control, wanted)
    if output is Output.TABLE:
        print_plan(plan)
    result = Result(plan=plan)
    if not is_dry_run:
        stored = _carry_out(control, app, wanted, plan)
        serving = wait_ready(control, stored, timeout_s) if wait else Serving()
        result = Result(plan=plan, deployment=stored, pods=serving.pods, sleepers=serving.sleepers)
    show(output, result, lambda: _tell(result))


def _app_folder(app_dir: Path | None) -> Path:
    if app_dir is None:
        return find_app(Path.cwd())
    if not (app_dir / APP_FILE).is_file():
        raise NotFound(f"there is no {APP_FILE} in {app_dir}: --app names the folder that holds it")
    return app_dir.absolute()


def _deployment(
    control: Control, app: AppSource, name: str | None, version: str | None
) -> Deployment:
    if name is None:
        name = default_name(app.spec.name, app.source, version)
        there = _there(control, name)
        if there is not None:
            check_free(name, app.spec.name, app.source, version, there)
    return Deployment(
        name=name,
        app=app.spec.name,
        components=app.hashes,
        version=version,
        title=app.spec.title,
        modules=app.spec.modules,
        source=app.source,
    )


def _there(control: Control, name: str) -> Deployment | None:
    try:
        there: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, name))
    except NotFound:
        return None
    return there


def _plan(control: Control, wanted: Deployment) -> Plan:
    body = {
        "name": wanted.name,
        "app": wanted.app,
        "components": wanted.components,
        "version": wanted.version,
    }
    return msgspec.convert(control.post("v1", "plans", body=body), Plan)


def _carry_out(control: Control, app: AppSource, wanted: Deployment, plan: Plan) -> Deployment:
    # What a deployment uses already, the platform knows the definition of.
    new = {each.component for each in plan.components if each.step is Step.NEW}
    definitions = export_definitions([app.components[name] for name in sorted(new)])
    missing = frozenset(plan.missing_bundles)
    upload_bundles(control, [each for each in app.components.values() if each.hash in missing])
    versions = [
        ComponentVersion(
            app=wanted.app,
            hash=app.components[name].hash,
            definition=definition,
            runtime=app.components[name].runtime,
        )
        for name, definition in definitions.items()
    ]
    body = {"deployment": wanted, "components": versions}
    stored = control.put("v1", DEPLOYMENTS.path, wanted.name, body=body)
    deployment: Deployment = DEPLOYMENTS.record_of(stored)
    return deployment


def _tell(result: Result) -> None:
    if result.deployment is None:
        return
    name = result.deployment.name
    state = f"ready: {count(len(result.pods), 'pod')}" if _is_ready(result) else "stored"
    if result.sleepers:
        state += f", {count(len(result.sleepers), 'component')} asleep until used"
    sys.stdout.write(f"deployment {name} is {state}\n")
    sys.stdout.write(f"reach it with ?kf-dep={name}&kf-ve=<virtual environment>\n")


def _is_ready(result: Result) -> bool:
    return bool(result.pods or result.sleepers)
