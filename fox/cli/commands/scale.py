"""``fox scale``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated

import msgspec
import typer

from fox.cli.support.completion import complete_scaled
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.kinds import DEPLOYMENTS
from fox.cli.support.output import Output, OutputOption
from fox.cli.support.pages import pages
from fox.cli.support.streamed_output import print_rows, write_documents
from kubefox.component import short
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.errors import NotFound
from kubefox.scaling import Scale, ScaleChange, ScaleOverride, VersionScale, fault_of

COLUMNS = ("APP", "COMPONENT", "HASH", "READY", "MIN", "MAX", "TARGET", "CONCURRENCY", "OVERRIDES")

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="COMPONENT|DEPLOYMENT/COMPONENT",
        help="A component in all its deployments, or in one of them.",
        autocompletion=complete_scaled,
        show_default="show all components",
    ),
]
Minimum = Annotated[
    int | None,
    typer.Option(
        "--min",
        metavar="N",
        help="Number of pods that always run; 0 lets an unused component be stopped.",
        show_default=False,
    ),
]
Maximum = Annotated[
    int | None,
    typer.Option(
        "--max",
        metavar="N",
        help="Largest number of pods; above the minimum, the number follows the load.",
        show_default=False,
    ),
]
TargetInFlight = Annotated[
    float | None,
    typer.Option(
        "--target",
        metavar="N",
        help="Events in flight for which one pod is enough.",
        show_default=False,
    ),
]
Reset = Annotated[bool, typer.Option("--reset", help="Remove what `fox scale` has set before.")]


def scale(
    target: Target = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    target_in_flight: TargetInFlight = None,
    reset: Reset = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show how many pods components run, or change it.

    Without --min, --max, --target and --reset, nothing is changed. A limit that is not given stays
    as it is. Limits of a deployment win over those of the component, which win over those in its
    code. Deployments that share a component version share its pods: the version gets enough for
    each of them.
    """
    if target_in_flight is not None and fault_of(Scale(target_in_flight=target_in_flight)):
        raise typer.BadParameter(
            f"{target_in_flight:g} is not valid: expected a number above 0", param_hint="--target"
        )
    limits = Scale(min=minimum, max=maximum, target_in_flight=target_in_flight)
    is_change = reset or limits != Scale()
    if is_change and target is None:
        raise typer.BadParameter("name the component to scale", param_hint="COMPONENT")
    deployment, _, component = (target or "").rpartition("/")
    control = connect(control_url, data_dir)
    if is_change:
        change = ScaleChange(component=component, deployment=deployment, scale=limits, reset=reset)
        control.post("v1", "scales", body=change)
    found = _pages(control, component, deployment)
    if output is not Output.TABLE:
        write_documents(output, (msgspec.to_builtins(page) for page in found))
    elif not print_rows(COLUMNS, (map(_cells, page) for page in found)):
        sys.stderr.write("no component versions\n")


def _pages(control: ControlClient, component: str, deployment: str) -> Iterator[list[VersionScale]]:
    """Return the versions of a component, of one deployment if it is named; all without a name.

    Raises:
        NotFound: There is no such deployment, or no such component.
    """
    used: frozenset[Version] | None = None
    if deployment:
        stored: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, deployment))
        used = versions_in_use([stored])
    found = (
        [
            row
            for row in msgspec.convert(page, list[VersionScale])
            if used is None or Version(row.app, row.component, row.hash) in used
        ]
        for page in pages(
            control, "scales", component=component or None, deployment=deployment or None
        )
    )
    first = next(filter(None, found), [])
    if component and not first:
        of_deployment = f"deployment {deployment} has" if deployment else "no deployment has"
        article = "no" if deployment else "a"
        raise NotFound(f"{of_deployment} {article} component {component}: see `fox scale`")
    return chain([first], found)


def _cells(row: VersionScale) -> Sequence[object]:
    ready = "idle" if row.is_idle else f"{row.ready}/{row.pods}"
    limits = row.limits
    overrides = ", ".join(map(_override_text, row.overrides))
    return (
        row.app,
        row.component,
        short(row.hash),
        ready,
        str(limits.min),
        str(limits.max),
        f"{limits.target_in_flight:g}",
        "default" if row.concurrency is None else str(row.concurrency),
        overrides,
    )


def _override_text(override: ScaleOverride) -> str:
    scale = override.scale
    limits = {"min": scale.min, "max": scale.max, "target": scale.target_in_flight}
    given = " ".join(f"{name}={limit:g}" for name, limit in limits.items() if limit is not None)
    return f"{override.deployment or 'all'}: {given}"
