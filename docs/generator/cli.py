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
    yield f"(fox-{name})=\n## `fox {name}`"
    yield f"{COMMANDS[name]}."
    yield from _usage(command, name)
    for subcommand, found in getattr(command, "commands", {}).items():
        yield f"### `fox {name} {subcommand}`"
        yield f"{_summary(found)[0]}"
        yield from _usage(found, f"{name} {subcommand}")


def _summary(command: Any) -> tuple[str, str]:
    """Return the first paragraph of a command's help, and the rest."""
    first, _, rest = textwrap.dedent(command.help or "").strip().partition("\n\n")
    return prose(" ".join(first.split())), rest.strip()


def _usage(command: Any, name: str) -> Iterator[str]:
    ctx = click.Context(command, info_name=f"fox {name}")
    yield f"```text\n{' '.join((f'fox {name}', *command.collect_usage_pieces(ctx)))}\n```"
    yield prose(_summary(command)[1])
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        rows = [_row(param, ctx) for param in command.params if param.param_type_name == kind]
        if rows:
            yield table([title, "Meaning"], rows)


def _row(parameter: Any, ctx: click.Context) -> tuple[str, str]:
    name, meaning = parameter.get_help_record(ctx)
    # The help puts a default that is not a plain value into parentheses.
    return code(name), re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", meaning)
