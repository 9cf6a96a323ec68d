"""``fox init-nats``."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from broker.nats.credentials import credentials_file
from broker.nats.credentials.claims import ALL
from fox.nats_config import (
    Address,
    cluster_config,
    cluster_of,
    parse_address,
    server_config,
    single_config,
)
from fox.nats_keys import ACCOUNT_KEY_FILE, KEYS_FILE, NatsKeys, new_keys
from kubefox.errors import Conflict
from pods import private_files

CONFIG_FILE = "nats.conf"
TOOL_FILE = "tool.creds"
_DATA_FOLDER = "data"
_PASSWORD_BYTES = 32


def init_nats(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New folder for the keys and the configuration.")
    ],
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Address of the server; name it for each server of a cluster, at least three.",
            show_default="127.0.0.1:4222",
        ),
    ] = None,
    store_dir: Annotated[
        Path | None,
        typer.Option(
            "--store-dir",
            metavar="DIR",
            help="Folder for the data on the host of each server.",
            show_default="a folder in the new one",
        ),
    ] = None,
) -> None:
    """Make keys and a configuration for NATS servers of your own, for `fox serve`.

    With several addresses, each server of the cluster gets a file, to copy to its host. The servers
    reach each other at a port that is 2000 higher: 6222 for 4222. The keys are those of an operator
    and an account of their own; with `tool.creds`, tools of NATS can do everything in this account,
    such as a backup. A NATS server with an operator needs only an account for the platform, and no
    new keys.
    """
    addresses = [parse_address(text) for text in listen or ["127.0.0.1:4222"]]
    configs = _configs(addresses, folder.absolute(), store_dir, keys := new_keys())
    _write(folder.absolute(), configs, keys)
    for name in configs:
        sys.stdout.write(f"nats-server --config {folder / name}\n")
    url = ",".join(f"nats://{address}" for address in addresses)
    sys.stdout.write(
        f"fox serve control --nats-url {url} --nats-credentials {folder / ACCOUNT_KEY_FILE}\n"
    )


def _configs(
    addresses: Sequence[Address], target: Path, store_dir: Path | None, keys: NatsKeys
) -> dict[str, str]:
    """Return the configuration of each server, by the name of its file."""
    if len(addresses) == 1:
        config = server_config(addresses[0], store_dir or target / _DATA_FOLDER, keys.config)
        return {CONFIG_FILE: config + single_config()}
    members, password = cluster_of(addresses), secrets.token_hex(_PASSWORD_BYTES)
    return {
        f"{member.name}.conf": server_config(
            address, store_dir or target / member.name, keys.config
        )
        + cluster_config(member, members, password)
        for address, member in zip(addresses, members, strict=True)
    }


def _write(target: Path, configs: dict[str, str], keys: NatsKeys) -> None:
    private_files.own_folder(target)
    if any(target.iterdir()):
        raise Conflict(f"folder {target} is not empty: name a new one")
    private_files.create(target / KEYS_FILE, keys.stored)
    private_files.create(target / ACCOUNT_KEY_FILE, keys.account_key.text.encode())
    tool = keys.account_key.mint(TOOL_FILE, ALL, time.time())
    private_files.create(target / TOOL_FILE, credentials_file.user_text(tool).encode())
    for name, config in configs.items():
        private_files.create(target / name, config.encode())
