"""``fox share``."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import msgspec
import typer

from fox.cli.support.completion import (
    complete_deployment,
    complete_share,
    complete_virtual_environment,
)
from fox.cli.support.connection import ControlUrl, DataDir, connect, requests_url
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import SHARES
from fox.cli.support.list_output import ListOutput, print_list
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.pages import pages
from fox.cli.support.times import read_duration, show_time
from kubefox.errors import InvalidRequest
from kubefox.share import MAX_TTL_S, MIN_TTL_S, NewShare, Share, SignedShare
from routing.selectors import SHARE


class SharedUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A new share with its URL, as ``-o json`` shows it.

    Attributes:
        share: The share.
        token: Its token.
        url: Opens the preview.
        warnings: Why the URL may not work.
    """

    share: Share
    token: str
    url: str
    warnings: tuple[str, ...] = ()


def share(
    deployment: Annotated[
        str | None,
        typer.Argument(
            metavar="DEPLOYMENT",
            help="Name of the deployment to share.",
            autocompletion=complete_deployment,
            show_default=False,
        ),
    ] = None,
    virtual_env: Annotated[
        str | None,
        typer.Option(
            "--virtual-env",
            "-e",
            metavar="NAME",
            help="Name of the virtual environment.",
            autocompletion=complete_virtual_environment,
            show_default=False,
        ),
    ] = None,
    ttl: Annotated[
        str,
        typer.Option("--ttl", metavar="TIME", help="How long the link works, such as 12h or 7d."),
    ] = "1d",
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Address of the page as its visitors open it.",
            show_default="the platform's address for requests",
        ),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option("--path", metavar="PATH", help="Path of the page.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="The only host name under which the link works.",
            show_default="every host",
        ),
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="List the shares.")] = False,
    revoke: Annotated[
        str | None,
        typer.Option(
            "--revoke",
            metavar="SHARE",
            help="Revoke the share with this id.",
            autocompletion=complete_share,
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Share a preview of a deployment by a link that ends.

    Prints a URL. Visitors who open it see the deployment in the virtual environment, and stay in it
    by a cookie, until the time is over or the share is revoked. They can select nothing else.
    It works where the policy of selection is open or signed, on the listener and in the virtual
    environment. A warning says if the listeners of the platform do not accept it.
    """
    if is_list:
        control = connect(control_url, data_dir)
        found = pages(control, SHARES.path, deployment=deployment, virtual_environment=virtual_env)
        print_list(SHARES, found, ListOutput(output.value))
    elif revoke is not None:
        control = connect(control_url, data_dir)
        control.delete("v1", SHARES.path, revoke)
        sys.stderr.write(f"share {revoke} is revoked\n")
        wait_followed(control)
    else:
        new = _new_share(deployment, virtual_env, ttl, host)
        base = _base_url(url or requests_url(control_url, data_dir), path)
        if host is not None and url is None:
            base = _at_host(base, host)
        control = connect(control_url, data_dir)
        made = control.post("v1", SHARES.path, body=new)
        signed = msgspec.convert(made, SignedShare)
        shared = SharedUrl(
            share=signed.share,
            token=signed.token,
            url=_with_token(base, signed.token),
            warnings=signed.warnings,
        )
        show(output, shared, lambda: _print(shared))
        sys.stdout.flush()
        for warning in shared.warnings:
            sys.stderr.write(f"warning: {warning}\n")
        wait_followed(control)


def _new_share(
    deployment: str | None, virtual_env: str | None, ttl: str, host: str | None
) -> NewShare:
    if deployment is None:
        raise typer.BadParameter("name the deployment to share", param_hint="DEPLOYMENT")
    if virtual_env is None:
        raise typer.BadParameter("name the virtual environment", param_hint="--virtual-env")
    ttl_s = round(read_duration(ttl))
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        days = MAX_TTL_S // 86_400
        raise typer.BadParameter(
            f"{ttl!r} is not valid: expected a time from {MIN_TTL_S}s to {days}d",
            param_hint="--ttl",
        )
    return NewShare(
        deployment=deployment,
        virtual_environment=virtual_env,
        ttl_s=ttl_s,
        host=(host or "").lower(),
    )


def _base_url(url: str, path: str | None) -> str:
    """Return the URL of the page, without the token.

    Raises:
        InvalidRequest: It is not an HTTP URL, or not known.
    """
    if not url:
        raise InvalidRequest(
            "the address for requests is not known: the platform runs in parts, on another machine "
            "or not at all. Name the address of the page with --url"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidRequest(f"URL {url!r} is not valid: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidRequest(f"URL {url!r} is not valid: expected http://HOST or https://HOST")
    if path is not None:
        wanted = urlsplit(path if path.startswith("/") else f"/{path}")
        parts = parts._replace(path=wanted.path, query=wanted.query)
    return urlunsplit(parts._replace(path=parts.path or "/", fragment=""))


def _at_host(url: str, host: str) -> str:
    """Return the URL with another host name, and its port."""
    parts = urlsplit(url)
    _, colon, port = parts.netloc.rpartition(":")
    has_port = bool(colon) and port.isdecimal()
    return urlunsplit(parts._replace(netloc=f"{host}:{port}" if has_port else host))


def _with_token(base: str, token: str) -> str:
    return f"{base}{'&' if '?' in base else '?'}{SHARE}={token}"


def _print(shared: SharedUrl) -> None:
    name, ends = shared.share.name, show_time(shared.share.expires_at_s)
    sys.stdout.write(f"{shared.url}\n")
    sys.stderr.write(
        f"share {name} ends at {ends}; end it earlier with `fox share --revoke {name}`\n"
    )
