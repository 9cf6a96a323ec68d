"""Upload of the bundles that the platform does not hold yet."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from fox.cli.support.control_client import ControlClient
from fox.cli.support.tables import console_for
from fox.source.app import ComponentSource
from kubefox.bundle import pack


def upload_bundles(control: ControlClient, components: Sequence[ComponentSource]) -> None:
    """Upload the bundle of each component, with a progress bar on a terminal."""
    if not components:
        return
    bundles = {component.hash: pack(component.files, component.runtime) for component in components}
    columns = TextColumn("uploading"), BarColumn(), DownloadColumn()
    console = console_for(sys.stderr)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=sum(map(len, bundles.values())))
        for digest, bundle in bundles.items():
            control.upload(
                "v1",
                "bundles",
                digest,
                content=bundle,
                on_sent=lambda size: progress.advance(task, size),
            )
