"""The connection to the platform.

It is in a cluster, at a given URL, at the one in a data folder, or at the default URL.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from fox import control_registry
from fox.cli.support.control_client import ControlClient, NoPlatform
from fox.cli.support.credentials import given_token, owners_token
from fox.cli.support.kube_options import chosen_target
from fox.cli.support.platform_file import read_own_info
from fox.cli.support.tls import folder_context
from fox.data_dir import PlatformInfo, read_info
from kubefox.errors import InvalidRequest

DATA_DIR = ".kubefox"
DEFAULT_URL = "http://127.0.0.1:8081"
CLUSTER_S = 30.0
"""Longest time for one answer of a cluster; a login plug-in may need some seconds of it."""

ControlUrl = Annotated[
    str | None,
    typer.Option(
        "--control-url",
        envvar="FOX_CONTROL_URL",
        metavar="URL",
        help="URL of the platform's control API.",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FOX_DATA_DIR",
        metavar="DIR",
        help="Data folder of `fox up`; it holds the URL of the control API.",
        show_default=False,
    ),
]


def connect(
    control_url: str | None, data_dir: Path | None, *, cluster_s: float = CLUSTER_S
) -> ControlClient:
    """Return a client for the given URL, the URL in the data folder, or the default URL.

    It has the given token, or the owner's token if the URL is that of the data folder.

    The default URL is used only when neither argument is given: another platform may be there.
    ``--kube-context`` takes the place of all of these; see ``chosen_target``.

    Args:
        control_url: Of ``--control-url``.
        data_dir: Of ``--data-dir``.
        cluster_s: Longest time for each answer of a cluster.

    Raises:
        InvalidRequest: The URL is not valid, the data folder may be somebody else's, or the context
            cannot be used.
        NotAuthorized: Kubernetes does not allow to reach the platform.
        NoPlatform: No platform runs on the given data folder, or in the given namespace.
    """
    if target := chosen_target():
        route = importlib.import_module("fox.cli.support.kube_route")
        client: ControlClient = route.cluster_client(target, given_token(), cluster_s)
        return client
    if control_url:
        return _client_of(control_url)
    found = _find(data_dir)
    url = found.info.control_url if found else ""
    if found is None or not url:
        if data_dir is not None:
            raise _no_platform(data_dir)
        return _client_of(_default_url())
    start_command = f"fox up --data-dir {data_dir}" if data_dir else "fox up"
    return _client_in(found.folder, url, start_command)


def _client_of(url: str) -> ControlClient:
    """Return a client for a URL: with the means of its data folder if this user runs it."""
    folder = _folder_of(url)
    return _client_in(folder, url) if folder else ControlClient(url, token=given_token())


def _client_in(folder: Path, url: str, start_command: str = "fox up") -> ControlClient:
    """Return a client for the platform of a data folder."""
    return ControlClient(
        url,
        token=given_token() or owners_token(folder),
        tls=folder_context(folder) if url.startswith("https:") else None,
        start_command=start_command,
    )


def requests_url(control_url: str | None, data_dir: Path | None) -> str:
    """Return the address for the requests of end users; empty if it is not known here.

    Args:
        control_url: As for ``connect``.
        data_dir: As for ``connect``.

    Raises:
        InvalidRequest: The data folder may be somebody else's.
    """
    if chosen_target():
        return ""
    found = None if control_url else _find(data_dir)
    if found is None and (control_url or data_dir is None):
        folder = _folder_of(control_url or _default_url())
        found = _find(folder) if folder else None
    return found.info.http_url if found else ""


def _default_url() -> str:
    """Return the default URL; with TLS if a platform of this user speaks it there."""
    with_tls = DEFAULT_URL.replace("http:", "https:", 1)
    return with_tls if _folder_of(with_tls) else DEFAULT_URL


class _Found(NamedTuple):
    """A data folder, and the addresses in it."""

    folder: Path
    info: PlatformInfo


def _find(data_dir: Path | None) -> _Found | None:
    """Return the platform on a data folder, or None.

    Args:
        data_dir: The folder; None searches ``.kubefox`` in the current folder and those above.

    Raises:
        InvalidRequest: The first one that is found may be somebody else's.
    """
    current = Path.cwd()
    folders = [data_dir] if data_dir else [at / DATA_DIR for at in (current, *current.parents)]
    for folder in folders:
        if info := read_own_info(folder):
            return _Found(folder, info)
    return None


def _folder_of(url: str) -> Path | None:
    """Return the data folder of a platform of this user that runs at a URL; None without one."""
    folder = control_registry.find(url)
    try:
        info = read_own_info(folder) if folder else None
    except InvalidRequest:  # The folder has become somebody else's.
        return None
    is_there = info is not None and info.control_url == url.rstrip("/")
    return folder if is_there else None


def _no_platform(data_dir: Path) -> NoPlatform:
    subfolder = data_dir / DATA_DIR
    if read_info(subfolder) is not None:
        return NoPlatform(
            f"no platform runs on data folder {data_dir}, but one runs on {subfolder}: use "
            f"--data-dir {subfolder}"
        )
    return NoPlatform(
        f"no platform runs on data folder {data_dir}: start one with "
        f"`fox up --data-dir {data_dir}`, or name another with --data-dir, FOX_DATA_DIR, "
        "--control-url or FOX_CONTROL_URL"
    )
