"""``fox redeliver``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fox.cli.completion import complete_dead_letter
from fox.cli.kinds import DEAD_LETTERS
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show


def redeliver(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="Dead letters, see `fox get dead-letters`.",
            autocompletion=complete_dead_letter,
        ),
    ],
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Deliver emitted events again that were given up.

    They go to the component version and the context that they were emitted for, and have all
    their attempts again; their handler sees that it may have had them before.
    """
    control = connect(control_url, data_dir)
    for each in ids:
        control.post("v1", DEAD_LETTERS.path, each, "redeliver", body={})

    def as_table() -> None:
        for each in ids:
            sys.stdout.write(f"dead letter {each} is on its way again\n")

    show(output, {"redelivered": ids}, as_table)
