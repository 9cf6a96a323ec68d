"""``fox deploy``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from fox.cli.support.bundle_upload import upload_bundles
from fox.cli.support.completion import complete_deployment
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.deployment_pods import ServingPods, wait_ready
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import DEPLOYMENTS, DeploymentStatus
from fox.cli.support.options import AppDir, Deadline, Timeout, Wait
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.phrases import count
from fox.cli.support.plan_text import print_plan
from fox.cli.support.rollout_outcome import print_rollout, print_warnings, rolling_of, wait_switched
from fox.source.app import AppSource, find_app, read_app
from fox.source.check import APP_FILE
from fox.source.export import export_definitions
from fox.source.naming import check_free, default_name
from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Plan, Step
from kubefox.errors import NotFound
from kubefox.pod import IdleVersion, PodStatus


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The document that ``-o json`` prints.

    Attributes:
        plan: The pods that the deployment starts and stops.
        images: The images that components name, by component.
        loaded: The components whose code is loaded on this machine to read their definitions; with
            ``--dry-run`` alone, those whose code would be.
        deployment: The stored deployment, with its state; None after ``--dry-run``. With
            ``--no-wait``, its rollout may be rolling.
        pods: The deployment's ready pods; empty with ``--no-wait``.
        idle_versions: The deployment's component versions that are ready, and whose pods start
            with their next event; empty with ``--no-wait``.
    """

    plan: Plan
    images: Mapping[str, str] = {}
    loaded: tuple[str, ...] = ()
    deployment: DeploymentStatus | None = None
    pods: tuple[PodStatus, ...] = ()
    idle_versions: tuple[IdleVersion, ...] = ()


Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Name of the deployment.",
        show_default="APP-(VERSION|BRANCH|TAG|COMMIT)",
        autocompletion=complete_deployment,
    ),
]
Ref = Annotated[
    str | None,
    typer.Option(
        "--ref", metavar="REF", help="Branch, tag or commit to deploy.", show_default="HEAD"
    ),
]
Version = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="VERSION",
        help="Version of the app; the deployment can then never change.",
    ),
]
Dirty = Annotated[
    bool, typer.Option("--dirty", help="Deploy the working tree with uncommitted changes.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show the plan and whose code would be loaded on this machine; run and deploy "
        "nothing of the app.",
    ),
]
Load = Annotated[
    bool,
    typer.Option(
        "--load",
        help="With --dry-run, also load the code of new component versions, to check their "
        "definitions.",
    ),
]


def deploy(
    name: Name = None,
    app_dir: AppDir = None,
    ref: Ref = None,
    version: Version = None,
    is_dirty: Dirty = False,
    is_dry_run: DryRun = False,
    is_loaded: Load = False,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    deadline_s: Deadline = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Deploy the committed app: only the components that changed get new pods.

    The plan is printed first: it shows which pods are new and which are reused. The code of new
    component versions is then loaded on this machine, to read their definitions: without your
    environment and, where the system allows it, without network and without your files.

    If NAME is deployed already, requests meet its earlier code until all new pods are ready; if
    they do not become ready in time, nothing changes, and the command fails.
    """
    _check_options(ref, is_dirty=is_dirty, is_dry_run=is_dry_run, is_loaded=is_loaded)
    app = read_app(_app_folder(app_dir), ref=ref, is_dirty=is_dirty)
    control = connect(control_url, data_dir)
    deployment = _deployment(control, app, name, version)
    plan = _plan(control, deployment)
    if is_loaded:
        plan = _plan(control, deployment, _new_definitions(app, plan))
    loaded, images = _new_components(plan), _images(app)
    if output is Output.TABLE:
        _print_plan(plan, images, loaded if is_dry_run and not is_loaded else ())
    result = Result(plan=plan, images=images, loaded=loaded)
    if is_dry_run:
        print_warnings(plan.warnings)
    else:
        document = _carry_out(control, app, deployment, plan, deadline_s)
        stored: DeploymentStatus = DEPLOYMENTS.record_of(document)
        print_warnings(stored.warnings)
        serving = ServingPods()
        if wait:
            stored, serving = _wait_serving(control, document, timeout_s)
        result = msgspec.structs.replace(
            result,
            deployment=stored,
            pods=serving.pods,
            idle_versions=serving.idle_versions,
        )
    show(output, result, lambda: _print_result(result))


def _check_options(ref: str | None, *, is_dirty: bool, is_dry_run: bool, is_loaded: bool) -> None:
    if ref == "":
        raise typer.BadParameter("--ref is empty: expected a branch, tag or commit")
    if ref is not None and is_dirty:
        raise typer.BadParameter("--dirty deploys the working tree: it cannot be used with --ref")
    if is_loaded and not is_dry_run:
        raise typer.BadParameter("--load belongs to --dry-run: without it, code is always loaded")


def _images(app: AppSource) -> dict[str, str]:
    components = app.components.values()
    return {each.name: each.runtime.image for each in components if each.runtime.image}


def _print_plan(plan: Plan, images: Mapping[str, str], not_loaded: tuple[str, ...]) -> None:
    print_plan(plan)
    for name, image in images.items():
        sys.stdout.write(f"in a cluster, {name} runs in the image {image}\n")
    if not_loaded:
        sys.stdout.write(f"fox deploy would load the code of {', '.join(not_loaded)}\n")


def _wait_serving(
    control: ControlClient, document: Any, timeout_s: float
) -> tuple[DeploymentStatus, ServingPods]:
    """Return the deployment, and its pods, when requests meet its new content everywhere."""
    ends_s = time.monotonic() + timeout_s
    switched = wait_switched(control, document, timeout_s)
    stored: DeploymentStatus = DEPLOYMENTS.record_of(switched)
    serving = wait_ready(control, stored, max(0, ends_s - time.monotonic()))
    wait_followed(control, switched["revision"])
    return stored, serving


def _app_folder(app_dir: Path | None) -> Path:
    if app_dir is None:
        return find_app(Path.cwd())
    if not (app_dir / APP_FILE).is_file():
        raise NotFound(
            f"there is no {APP_FILE} in {app_dir}: set --app DIR to the folder that holds it"
        )
    return app_dir.absolute()


def _deployment(
    control: ControlClient, app: AppSource, name: str | None, version: str | None
) -> Deployment:
    if name is None:
        name = default_name(app.spec.name, app.source, version)
        existing = _existing(control, name)
        if existing is not None:
            check_free(name, app.spec.name, app.source, version, existing)
    return Deployment(
        name=name,
        app=app.spec.name,
        components=app.hashes,
        version=version,
        title=app.spec.title,
        modules=app.spec.modules,
        source=app.source,
    )


def _existing(control: ControlClient, name: str) -> Deployment | None:
    try:
        stored: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, name))
    except NotFound:
        return None
    return stored


def _plan(
    control: ControlClient,
    deployment: Deployment,
    definitions: Mapping[str, ComponentDefinition] | None = None,
) -> Plan:
    body = {
        "name": deployment.name,
        "app": deployment.app,
        "components": deployment.components,
        "version": deployment.version,
        "definitions": definitions or {},
    }
    return msgspec.convert(control.post("v1", "plans", body=body), Plan)


def _new_definitions(app: AppSource, plan: Plan) -> dict[str, ComponentDefinition]:
    """Return the definitions of the versions that no other deployment uses."""
    components = [app.components[name] for name in _new_components(plan)]
    return export_definitions(components, on_not_isolated=_warn_not_isolated)


def _new_components(plan: Plan) -> tuple[str, ...]:
    # The platform has the definitions of the others.
    new = {planned.component for planned in plan.components if planned.step is Step.NEW}
    return tuple(sorted(new))


def _warn_not_isolated(reason: str) -> None:
    sys.stderr.write(
        "warning: the components' code was loaded without isolation, because this system does not "
        f"allow it ({reason}): it could use the network and your files\n"
    )


def _carry_out(
    control: ControlClient,
    app: AppSource,
    deployment: Deployment,
    plan: Plan,
    deadline_s: float | None,
) -> Any:
    """Store the code and the deployment; return its document."""
    definitions = _new_definitions(app, plan)
    missing = frozenset(plan.missing_bundles)
    upload_bundles(
        control, [source for source in app.components.values() if source.hash in missing]
    )
    versions = [
        ComponentVersion(
            app=deployment.app,
            hash=app.components[name].hash,
            definition=definition,
            runtime=app.components[name].runtime,
        )
        for name, definition in definitions.items()
    ]
    body = {"deployment": deployment, "components": versions, "deadline_s": deadline_s}
    return control.put("v1", DEPLOYMENTS.path, deployment.name, body=body)


def _print_result(result: Result) -> None:
    if result.deployment is None:
        return
    name = result.deployment.name
    if rolling_of(result.deployment) is not None:
        print_rollout(result.deployment)
        return
    is_ready = bool(result.pods or result.idle_versions)
    state = f"ready: {count(len(result.pods), 'pod')}" if is_ready else "stored"
    if result.idle_versions:
        state += f", {count(len(result.idle_versions), 'component')} idle until the next event"
    sys.stdout.write(f"deployment {name} is {state}\n")
    sys.stdout.write(f"select it with ?kf-dep={name}&kf-ve=<virtual environment>\n")
