"""Waiting until all processes that route requests have followed a change."""

from __future__ import annotations

import sys
from typing import Any

from fox.cli.support.control_client import ControlClient
from fox.cli.support.polling import AWAY_S, poll_until
from kubefox.errors import FoxError


def wait_followed(control: ControlClient, revision: int | None = None) -> None:
    """Wait until all processes route requests by a change; print a warning if some do not.

    Args:
        control: The control API that has made the change.
        revision: Of the record that was changed; None if the change has no record, as a deletion.
    """

    def check() -> tuple[str, list[str]]:
        answer: dict[str, Any] = control.get("v1", "followers", revision=revision)
        return "", answer["behind"]

    try:
        behind = poll_until(check, "waiting for the processes that route requests", AWAY_S)
    except FoxError as error:
        # The change itself is done.
        sys.stderr.write(
            "warning: it is not known whether all processes route requests by the change yet: "
            f"{error.detail}\n"
        )
        return
    for process in behind:
        sys.stderr.write(
            f"warning: process {_without_token(process)} has not followed the change. If it still "
            "runs, it routes requests as before until it is connected to NATS again\n"
        )


def _without_token(process: str) -> str:
    """Return host and number of a process, whose id ends with a random token."""
    return process.rpartition("-")[0] or process
