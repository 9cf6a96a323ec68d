"""``fox redeliver``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fox.cli.support.completion import complete_dead_letter
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.kinds import DEAD_LETTERS
from fox.cli.support.output import Output, OutputOption, show


def redeliver(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="Ids of dead letters, see `fox get dead-letters`.",
            autocompletion=complete_dead_letter,
        ),
    ],
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Deliver dead letters again: emitted events that failed.

    An event goes to the same component version, in the same context, and gets all its attempts
    again. Its handler can see that the event may have been delivered before.
    """
    control = connect(control_url, data_dir)
    for letter_id in ids:
        control.post("v1", DEAD_LETTERS.path, letter_id, "redeliver", body={})

    def print_result() -> None:
        for letter_id in ids:
            sys.stdout.write(f"dead letter {letter_id} is delivered again\n")

    show(output, {"redelivered": ids}, print_result)
