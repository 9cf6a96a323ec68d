"""``fox token``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fox.cli.support.completion import complete_role, complete_token
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.pages import documents
from fox.cli.support.tables import print_to, table
from fox.cli.support.times import read_duration, show_end, show_time
from kubefox.errors import InvalidRequest
from kubefox.grants import parse_grant
from kubefox.stored_token import TokenInfo
from pods import private_files

PATH = "tokens"
COLUMNS = ("NAME", "ID", "ROLES", "CREATED", "EXPIRES", "CREATED BY")

token = typer.Typer(
    name="token",
    help="Create, list or revoke tokens of the control API.\n\n"
    "The platform stores only a hash, so a new token is shown once. A revoked or expired token is "
    "refused at once. The owner's token in the data folder is not one of these tokens.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Roles = Annotated[
    list[str],
    typer.Option(
        "--role",
        metavar="ROLE[:APPS[:VIRTUAL_ENVIRONMENTS]]",
        help="A role of the new token: view, deploy, release or admin, for apps and virtual "
        "environments, with commas between names and * for any characters; may be repeated.",
        autocompletion=complete_role,
        show_default=False,
    ),
]
Ttl = Annotated[str, typer.Option("--ttl", metavar="TIME", help="How long the token is valid.")]
Write = Annotated[
    Path | None,
    typer.Option(
        "--write",
        metavar="FILE",
        help="Write the token to a new file that only you can read.",
        show_default="print it",
    ),
]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the new token.")]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the token.", autocompletion=complete_token),
]


@token.command("create")
def create(
    name: NewName,
    role: Roles,
    ttl: Ttl = "90d",
    write: Write = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Create a token, and print it.

    It is shown only now: the platform stores a hash of it.
    """
    if write is not None and os.path.lexists(write):
        raise InvalidRequest(f"{write} exists: name a new file, or remove it")
    body = {
        "name": name,
        "grants": [parse_grant(one) for one in role],
        "ttl_s": read_duration(ttl),
    }
    created = connect(control_url, data_dir).post("v1", PATH, body=body)
    info, text = msgspec.convert(created["info"], TokenInfo), created["token"]
    if write is not None:
        private_files.create(write, f"{text}\n".encode())
        created = {"info": created["info"]}
        text = f"token {name} is in {write}"
    show(output, created, lambda: _print_line(text))
    sys.stderr.write(f"token {name} is valid until {show_time(info.expires_at_s)}\n")


@token.command("list")
def list_(
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List the tokens and their times.

    A token that has expired stays in the list until it is revoked.
    """
    control = connect(control_url, data_dir)
    found = [msgspec.convert(each, TokenInfo) for each in documents(control, PATH)]
    show(output, found, lambda: _print_table(found))


@token.command("revoke")
def revoke(
    name: Name,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke a token.

    All control processes refuse it from now on.
    """
    connect(control_url, data_dir).delete("v1", PATH, name)
    _print_line(f"token {name} is revoked")


def _print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


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
            show_end(each.expires_at_s, now_s),
            each.created_by,
        )
        for each in found
    ]
    print_to(sys.stdout, table(COLUMNS, rows))
