"""``fox version``."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import NoPlatform
from fox.cli.support.output import Output, OutputOption, show


def version(
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show the version of this command and of the platform."""
    client = importlib.metadata.version("kubefox")
    url, platform = "", None
    with contextlib.suppress(NoPlatform):
        control = connect(control_url, data_dir)
        url = control.url
        platform = control.get("v1", "version")

    def print_versions() -> None:
        platform_text = f"{platform['version']} at {url}" if platform else "not running"
        sys.stdout.write(f"fox       {client}\nplatform  {platform_text}\n")

    show(output, {"client": client, "platform": platform, "control_url": url}, print_versions)
