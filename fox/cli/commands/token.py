"""``fox token``."""

from __future__ import annotations

import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.pages import documents
from fox.cli.support.tables import print_to, table
from fox.cli.support.times import read_duration, show_time
from kubefox.errors import InvalidRequest
from kubefox.grants import parse_grant
from kubefox.stored_token import TokenInfo
from pods import private_files

PATH = "tokens"
COLUMNS = ("NAME", "ID", "ROLES", "CREATED", "EXPIRES", "CREATED BY")


class Action(StrEnum):
    """What to do with tokens."""

    CREATE = "create"
    LIST = "list"
    REVOKE = "revoke"


Roles = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        metavar="ROLE[:APPS[:VIRTUAL_ENVIRONMENTS]]",
        help="A role of the new token: view, deploy, release or admin, for apps and virtual "
        "environments, with commas between names and * for any characters; may be repeated.",
        show_default=False,
    ),
]


def token(
    action: Annotated[Action, typer.Argument(metavar="create|list|revoke", help="What to do.")],
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of the token.", show_default=False),
    ] = None,
    role: Roles = None,
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="How long the new token is valid.")
    ] = "90d",
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Write the new token to a file that only you can read.",
            show_default="print it",
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Create, list or revoke tokens of the control API.

    The platform stores only a hash, so a new token is shown once. A revoked or expired token is
    refused at once. The owner's token in the data folder is none of these.
    """
    if (name is None) is not (action is Action.LIST):
        raise typer.BadParameter("create and revoke need the name of one token, list takes none")
    if action is not Action.CREATE and (role or write):
        raise typer.BadParameter("--role and --write are for create only")
    control = connect(control_url, data_dir)
    if action is Action.CREATE:
        _create(control, str(name), role or [], read_duration(ttl), write, output)
    elif action is Action.LIST:
        _list(control, output)
    else:
        control.delete("v1", PATH, str(name))
        sys.stdout.write(f"token {name} is revoked\n")


def _create(
    control: ControlClient,
    name: str,
    roles: list[str],
    ttl_s: float,
    write: Path | None,
    output: Output,
) -> None:
    if not roles:
        raise typer.BadParameter("create needs --role, such as --role deploy:shop")
    if write is not None and os.path.lexists(write):
        raise InvalidRequest(f"{write} exists: name a new file, or remove it")
    body = {"name": name, "grants": [parse_grant(role) for role in roles], "ttl_s": ttl_s}
    created = control.post("v1", PATH, body=body)
    info, text = msgspec.convert(created["info"], TokenInfo), created["token"]
    if write is not None:
        private_files.create(write, f"{text}\n".encode())
        created = {"info": created["info"]}
        text = f"token {name} is in {write}"
    show(output, created, lambda: _print_line(text))
    sys.stderr.write(f"token {name} is valid until {show_time(info.expires_at_s)}\n")


def _print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _list(control: ControlClient, output: Output) -> None:
    found = [msgspec.convert(each, TokenInfo) for each in documents(control, PATH)]
    show(output, found, lambda: _print_table(found))


def _print_table(found: list[TokenInfo]) -> None:
    if not found:
        sys.stderr.write("no tokens\n")
        return
    now_s = time.time()
    rows = [
        (
            each.name,
            each.id,
            " ".join(map(str, each.grants)),
            show_time(each.created_at_s),
            show_time(each.expires_at_s) if each.expires_at_s > now_s else "expired",
            each.created_by,
        )
        for each in found
    ]
    print_to(sys.stdout, table(COLUMNS, rows))
