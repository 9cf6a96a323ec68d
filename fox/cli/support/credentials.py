"""The token that commands send to the control API: a given one, or that of the data folder.

A token is never an argument: other users of the machine see command lines.
"""

from __future__ import annotations

import importlib
import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import typer.core

from fox import owner_token
from fox.cli.support.given_token import GivenToken, check_shape
from kubefox.errors import InvalidRequest

TOKEN_VARIABLE = "FOX_TOKEN"  # noqa: S105 - the name of a variable
FILE_VARIABLE = "FOX_TOKEN_FILE"
OPTION = "--token-file"


def add_token_option(command: Any) -> None:
    """Give ``--token-file`` to a command that talks to the control API, and to its subcommands."""
    for subcommand in getattr(command, "commands", {}).values():
        add_token_option(subcommand)
    if any(param.name == "control_url" for param in command.params):
        command.params.append(
            typer.core.TyperOption(
                param_decls=[OPTION],
                type=str,
                envvar=FILE_VARIABLE,
                metavar="FILE",
                help="File with the token for the control API; FOX_TOKEN holds the token itself.",
                show_envvar=True,
                show_default=False,
                expose_value=False,
                callback=_keep,
            )
        )


def given_token() -> GivenToken | None:
    """Return the token of ``--token-file``, FOX_TOKEN_FILE or FOX_TOKEN; None without one.

    Raises:
        InvalidRequest: The file cannot be read, other users may read it, or there is no token in
            it or in the variable.
    """
    if (named := _token_file.get()) is not None:
        return _in_file(named)
    text = os.environ.get(TOKEN_VARIABLE, "")
    if not text.strip():
        return None
    cure = f"Correct it, or unset {TOKEN_VARIABLE} to use the owner's token of the data folder"
    return check_shape(text, f"the variable {TOKEN_VARIABLE}", cure)


def owners_token(folder: Path) -> GivenToken | None:
    """Return the owner's token of a data folder; None if it has none.

    Raises:
        InvalidRequest: The file is not the user's alone, or holds no token.
    """
    file = folder / owner_token.TOKEN_FILE
    try:
        text = owner_token.read_private(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidRequest(f"the token file {file} cannot be read: {error.strerror}") from error
    cure = "Delete it, and start the platform again to get a new one"
    return check_shape(text, f"the token file {file}", cure)


class _NamedFile(NamedTuple):
    """A token file, and the option or variable that names it."""

    path: Path
    named_by: str


_token_file: ContextVar[_NamedFile | None] = ContextVar("_token_file", default=None)


def _keep(context: Any, param: Any, value: str | None) -> None:
    source = context.get_parameter_source(param.name)
    named_by = FILE_VARIABLE if source and source.name == "ENVIRONMENT" else OPTION
    _token_file.set(_NamedFile(Path(value), named_by) if value else None)


def _in_file(named: _NamedFile) -> GivenToken:
    # Most commands need none of it.
    secret_file = importlib.import_module("broker.runtime.secret_file")
    text: str = secret_file.read(named.path, "token file", named_by=named.named_by)
    source = f"the token file {named.path} of {named.named_by}"
    return check_shape(text, source, "Write the whole token to it, or name another file")
