"""Every command of ``fox``, from the commands themselves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from docs.generator.markdown import code, prose, table
from fox.cli.main import COMMANDS, load


def commands() -> str:
    """Return a section for each command: its usage, help, arguments and options."""
    return "\n\n".join("\n\n".join(_command(name)) for name in COMMANDS)


def _command(name: str) -> Iterator[str]:
    command = load(name)
    ctx = click.Context(command, info_name=f"fox {name}")
    yield f"(fox-{name})=\n## `fox {name}`"
    yield f"{COMMANDS[name]}."
    yield f"```text\n{' '.join((f'fox {name}', *command.collect_usage_pieces(ctx)))}\n```"
    # The first line is the summary again.
    yield prose(textwrap.dedent(command.help or "").partition("\n")[2].strip())
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        rows = [_row(param, ctx) for param in command.params if param.param_type_name == kind]
        if rows:
            yield table([title, "Meaning"], rows)


def _row(parameter: Any, ctx: click.Context) -> tuple[str, str]:
    name, meaning = parameter.get_help_record(ctx)
    # The help puts a default that is not a plain value into parentheses.
    return code(name), re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", meaning)
