"""``fox init-nats``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fox.nats_keys import ACCOUNT_KEY_FILE, KEYS_FILE, new_keys
from kubefox.errors import Conflict
from pods import private_files

CONFIG_FILE = "nats.conf"
_CONFIG = """\
listen: "{listen}"
# A whole body of 5 MiB and its head fit into one message.
max_payload: 8388608
# Credentials list all that a process may do: a pod with 100 dependencies needs 32 KiB.
max_control_line: 131072
# At the default of 64 MiB, 20 answers of 5 MiB at once cut an HTTP adapter off.
max_pending: 536870912
# A client that hangs, or whose host is gone, is noticed after 15 s. Each ping wakes a pod: with
# hundreds of pods, "30s" halves the work of an idle platform, and 90 s are needed to notice it.
ping_interval: "5s"
ping_max: 2
# An acknowledged write is on the disk.
jetstream {{ store_dir: "{store}", sync_interval: always }}
# The operator and the account of the platform; every client needs credentials of the account.
{keys}"""


def init_nats(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New folder for the keys and the configuration.")
    ],
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Address of the server.")
    ] = "127.0.0.1:4222",
) -> None:
    """Make keys and a configuration for a NATS server of your own, for `fox serve`.

    The keys are those of an operator and an account of their own. A NATS server with an operator
    needs only an account for the platform, and no new keys.
    """
    target = folder.absolute()
    private_files.own_folder(target)
    if any(target.iterdir()):
        raise Conflict(f"folder {target} is not empty: name a new one")
    keys = new_keys()
    config = _CONFIG.format(listen=listen, store=target / "data", keys=keys.config)
    private_files.create(target / KEYS_FILE, keys.stored)
    private_files.create(target / ACCOUNT_KEY_FILE, keys.account_key.text.encode())
    private_files.create(target / CONFIG_FILE, config.encode())
    sys.stdout.write(
        f"nats-server --config {folder / CONFIG_FILE}\n"
        f"fox serve control --nats-url nats://{listen} "
        f"--nats-credentials {folder / ACCOUNT_KEY_FILE}\n"
    )
