"""``fox rotate-keys``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import console_for, print_to, table
from fox.cli.support.times import show_time
from kubefox.key_ring import KeyKind, KeysStatus, Resealed

# The platform waits for up to half a minute until all of its processes know a new key.
_TIMEOUT_S = 120.0


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The action taken and the keys after it, as ``-o json`` shows them.

    Attributes:
        replaced: Kinds of the keys that were replaced.
        renewed: How many revisions of records were encrypted again or erased.
        keys: The keys, without their content.
    """

    replaced: tuple[str, ...]
    renewed: int
    keys: KeysStatus


def rotate_keys(
    data_key: Annotated[
        bool,
        typer.Option("--data-key", help="Replace the data key, and encrypt all secrets again."),
    ] = False,
    key_encryption_key: Annotated[
        bool,
        typer.Option(
            "--key-encryption-key", help="Replace the key that wraps the data key, in its file."
        ),
    ] = False,
    every_key: Annotated[bool, typer.Option("--all", help="Replace all three keys.")] = False,
    drop_old: Annotated[
        bool,
        typer.Option(
            "--drop-old",
            help="Also refuse contexts of earlier keys from now on: events that wait with them "
            "fail. For a key that others know.",
        ),
    ] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="Show the keys, and replace none.")
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Replace the key that seals event contexts, or another key of the platform.

    No request fails: a new key is used when all processes know it, and contexts of the earlier key
    are accepted as long as events can wait, for 46 days. No key is ever shown. An interrupted
    rotation goes on when it is started again. The control plane finishes it within an hour.
    """
    kinds = tuple(_kinds(data_key or every_key, key_encryption_key or every_key, every_key))
    if only_list and (kinds or drop_old):
        raise typer.BadParameter("--list replaces no key")
    if not kinds and not only_list:
        kinds = (KeyKind.SEALING,)
    if drop_old and KeyKind.SEALING not in kinds:
        kinds = (KeyKind.SEALING, *kinds)
    control = connect(control_url, data_dir).with_timeout(_TIMEOUT_S)
    renewed = 0
    with console_for(sys.stderr).status("replacing") as status:
        for kind in kinds:
            status.update(f"replacing the {kind.value} key")
            if kind is KeyKind.DATA:
                # An earlier rotation may have been interrupted.
                renewed += _reseal(control)
            control.post("v1", "keys", "rotate", body={"kind": kind.value})
            if kind is KeyKind.DATA:
                renewed += _reseal(control)
        if drop_old:
            control.post("v1", "keys", "drop-replaced", body={})
    keys = msgspec.convert(control.get("v1", "keys"), KeysStatus)
    done = Rotation(replaced=tuple(kind.value for kind in kinds), renewed=renewed, keys=keys)
    show(output, keys if only_list else done, lambda: _print_result(done))


def _kinds(data_key: bool, key_encryption_key: bool, every_key: bool) -> Iterator[KeyKind]:
    if every_key:
        yield KeyKind.SEALING
    if data_key:
        yield KeyKind.DATA
    if key_encryption_key:
        yield KeyKind.KEY_ENCRYPTION


def _reseal(control: ControlClient) -> int:
    """Have all records encrypted with the current data key, in several requests."""
    renewed, left = 0, 1
    while left:
        part = msgspec.convert(control.post("v1", "keys", "reseal", body={}), Resealed)
        renewed, left = renewed + part.renewed, part.left
    return renewed


def _print_result(done: Rotation) -> None:
    rows = [
        (
            key.kind,
            key.id,
            key.state,
            show_time(key.created_at_s) if key.created_at_s else "",
            show_time(key.last_used_s) if key.last_used_s else "",
            key.wrapped_by,
        )
        for key in done.keys.keys
    ]
    print_to(sys.stdout, table(["KIND", "ID", "STATE", "CREATED", "LAST USED", "WRAPPED BY"], rows))
    if done.replaced:
        again = f"; {done.renewed} revisions encrypted again or erased" if done.renewed else ""
        sys.stdout.write(f"replaced: {', '.join(done.replaced)}{again}\n")
