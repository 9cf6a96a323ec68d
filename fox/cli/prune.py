"""``fox prune``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from fox.cli.client import Control
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.tables import console_for, table, to_stream
from model.component import short
from model.pruning import Pruning, UnusedManifest, UnusedState, UnusedVersion


def prune(
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go and stop.")
    ] = False,
    with_state: Annotated[
        bool,
        typer.Option(
            "--state", help="Also the state store's data of deleted virtual environments."
        ),
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Remove code that no deployment and no release names, archived ones included.

    What was deployed or uploaded within the last hour stays: a deploy may be about to use it.
    What a release froze, secrets included, and was broken off before anything named it, goes too.
    """
    control = connect(control_url, data_dir)
    pruning = _pruned(control, is_dry_run=is_dry_run, with_state=with_state)
    show(output, pruning, lambda: _tell(pruning, is_dry_run=is_dry_run))


def _pruned(control: Control, *, is_dry_run: bool, with_state: bool) -> Pruning:
    """Ask until nothing is left, with a line of progress on a terminal."""
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


def _parts(control: Control, body: object) -> Iterator[Pruning]:
    left = 1
    while left:
        part = msgspec.convert(control.post("v1", "prune", body=body), Pruning)
        yield part
        # What a deploy has claimed in between stays: without this it would be asked for for ever.
        left = part.left if part.versions or part.states or part.manifests else 0


def _tell(pruning: Pruning, *, is_dry_run: bool) -> None:
    rows: list[tuple[str, str, int]] = [
        (", ".join(each.components), short(each.hash), each.size_bytes) for each in pruning.versions
    ]
    rows += [
        (f"data of {each.virtual_environment}", "", each.size_bytes) for each in pruning.states
    ]
    rows += [
        (f"manifest of {each.release} in {each.virtual_environment}", "", 0)
        for each in pruning.manifests
    ]
    if rows:
        to_stream(table(["WHAT", "HASH", "BYTES"], rows), sys.stdout)
    total = sum(size for _, _, size in rows)
    verb = "would be removed" if is_dry_run else "removed"
    sys.stdout.write(f"{len(rows)} unused, {total / 1e6:.1f} MB {verb}\n")
