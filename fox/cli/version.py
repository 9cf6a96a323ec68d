"""``fox version``."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

from fox.cli.client import NoPlatform
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show


def version(
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show the version of this command and of the platform."""
    control = connect(control_url, data_dir)
    client = importlib.metadata.version("kubefox")
    try:
        platform: Any = control.get("v1", "version")
    except NoPlatform:
        platform = None

    def as_table() -> None:
        there = f"{platform['version']} at {control.url}" if platform else "not running"
        sys.stdout.write(f"fox       {client}\nplatform  {there}\n")

    show(output, {"client": client, "platform": platform, "control_url": control.url}, as_table)
