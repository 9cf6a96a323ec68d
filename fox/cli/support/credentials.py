"""The token that commands send to the control API: a given one, or that of the data folder.

A token is never an argument: other users of the machine see command lines.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import typer.core

from fox import owner_token
from kubefox.errors import InvalidRequest

TOKEN_VARIABLE = "FOX_TOKEN"  # noqa: S105 - the name of a variable
_token_file: ContextVar[str | None] = ContextVar("_token_file", default=None)


def add_token_option(command: Any) -> None:
    """Give ``--token-file`` to a command that talks to the control API."""
    if any(param.name == "control_url" for param in command.params):
        command.params.append(
            typer.core.TyperOption(
                param_decls=["--token-file"],
                type=str,
                envvar="FOX_TOKEN_FILE",
                metavar="FILE",
                help="File with the token for the control API; FOX_TOKEN holds the token itself.",
                show_envvar=True,
                show_default=False,
                expose_value=False,
                callback=_keep,
            )
        )


def given_token() -> str:
    """Return the token of ``--token-file`` or of the variable; empty without one.

    Raises:
        InvalidRequest: The file cannot be read, or the token cannot be part of a header.
    """
    file = _token_file.get()
    return (
        _read(Path(file)) if file else _checked(os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE)
    )


def owners_token(folder: Path) -> str:
    """Return the owner's token of a data folder; empty if it has none.

    Raises:
        InvalidRequest: The file is not the user's alone.
    """
    try:
        return _checked(owner_token.read_private(folder / owner_token.TOKEN_FILE), str(folder))
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _unreadable(folder / owner_token.TOKEN_FILE, error) from error


def _keep(_context: Any, _param: Any, value: str | None) -> None:
    _token_file.set(value)


def _read(file: Path) -> str:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error
    if not text.strip():
        raise InvalidRequest(f"token file {file} is empty")
    return _checked(text, str(file))


def _checked(text: str, source: str) -> str:
    token = text.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidRequest(f"{source} holds no token: expected one line without blanks")
    return token


def _unreadable(file: Path, error: Exception) -> InvalidRequest:
    reason = error.strerror if isinstance(error, OSError) else "it is not text"
    return InvalidRequest(f"token file {file} cannot be read: {reason}")
