"""Where the platform is: a given URL, what `fox up` wrote into its data folder, or the default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fox.cli.client import Control, NoPlatform
from fox.data_dir import PlatformInfo, read_info

DATA_DIR = ".kubefox"
DEFAULT_URL = "http://127.0.0.1:8081"

ControlUrl = Annotated[
    str | None,
    typer.Option(
        "--control-url",
        envvar="FOX_CONTROL_URL",
        metavar="URL",
        help="Control API of the platform.",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FOX_DATA_DIR",
        metavar="DIR",
        help="Data folder of `fox up`, which tells where it runs.",
        show_default=False,
    ),
]


def connect(control_url: str | None, data_dir: Path | None) -> Control:
    """Return the control API to use: of the flag, of the data folder, or at the default URL.

    Only who names neither gets the default: another platform may answer there.

    Raises:
        InvalidRequest: The URL is not valid.
        NoPlatform: No platform runs on the folder that was given.
    """
    if control_url:
        return Control(control_url)
    platform = find_platform(data_dir)
    if data_dir is None:
        return Control(platform.control_url if platform and platform.control_url else DEFAULT_URL)
    if platform is None or not platform.control_url:
        raise _no_platform(data_dir)
    return Control(platform.control_url, start=f"fox up --data-dir {data_dir}")


def find_platform(data_dir: Path | None) -> PlatformInfo | None:
    """Return what the platform of a data folder tells about itself, or None.

    Args:
        data_dir: The folder; None looks for ``.kubefox`` here and in the folders above.
    """
    here = Path.cwd()
    folders = [data_dir] if data_dir else [each / DATA_DIR for each in (here, *here.parents)]
    return next(filter(None, map(read_info, folders)), None)


def _no_platform(data_dir: Path) -> NoPlatform:
    below = data_dir / DATA_DIR
    if read_info(below) is not None:
        return NoPlatform(f"no platform runs on data folder {data_dir}, but one on {below}")
    return NoPlatform(
        f"no platform runs on data folder {data_dir}: start one with "
        f"`fox up --data-dir {data_dir}`, or name another with --data-dir, FOX_DATA_DIR, "
        "--control-url or FOX_CONTROL_URL"
    )
