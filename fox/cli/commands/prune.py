"""``fox prune``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import console_for, print_to, table
from kubefox.component import short
from kubefox.pruning import Pruning, UnusedManifest, UnusedState, UnusedVersion


def prune(
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")
    ] = False,
    with_state: Annotated[
        bool,
        typer.Option(
            "--state", help="Also remove state store data of deleted virtual environments."
        ),
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Remove code that no deployment and no release uses.

    Archived releases count as users. Code that was deployed or uploaded within the last hour stays,
    because a deploy may be about to use it. Manifests of interrupted releases are removed too, with
    the secrets in them.
    """
    control = connect(control_url, data_dir)
    pruning = _prune(control, is_dry_run=is_dry_run, with_state=with_state)
    show(output, pruning, lambda: _print_result(pruning, is_dry_run=is_dry_run))


def _prune(control: ControlClient, *, is_dry_run: bool, with_state: bool) -> Pruning:
    """Prune in several requests until nothing is left, with a status line on a terminal."""
    versions: list[UnusedVersion] = []
    states: list[UnusedState] = []
    manifests: list[UnusedManifest] = []
    with console_for(sys.stderr).status("removing") as status:
        for part in _parts(control, {"dry_run": is_dry_run, "with_state": with_state}):
            versions += part.versions
            states += part.states
            manifests += part.manifests
            status.update(f"removing, {part.left} left")
    return Pruning(versions=tuple(versions), states=tuple(states), manifests=tuple(manifests))


def _parts(control: ControlClient, body: object) -> Iterator[Pruning]:
    left = 1
    while left:
        part = msgspec.convert(control.post("v1", "prune", body=body), Pruning)
        yield part
        # Code that a deploy has begun to use is not removed, so an empty part ends the loop.
        left = part.left if part.versions or part.states or part.manifests else 0


def _print_result(pruning: Pruning, *, is_dry_run: bool) -> None:
    rows: list[tuple[str, str, int]] = [
        (", ".join(version.components), short(version.hash), version.size_bytes)
        for version in pruning.versions
    ]
    rows += [
        (f"data of {state.virtual_environment}", "", state.size_bytes) for state in pruning.states
    ]
    rows += [
        (f"manifest of {manifest.release} in {manifest.virtual_environment}", "", 0)
        for manifest in pruning.manifests
    ]
    if rows:
        print_to(sys.stdout, table(["WHAT", "HASH", "BYTES"], rows))
    total_bytes = sum(size_bytes for _, _, size_bytes in rows)
    verb = "would be removed" if is_dry_run else "removed"
    sys.stdout.write(f"{len(rows)} unused, {total_bytes / 1e6:.1f} MB {verb}\n")
