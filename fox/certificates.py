"""The certificates of this process: loaded before it starts, and followed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import NamedTuple

from broker.runtime.background import run_in_background
from broker.runtime.settings import Settings
from broker.runtime.tls import ServerCertificate, load_certificate
from control.api.exposure import check_exposure


class Certificates(NamedTuple):
    """The certificates of a process; None where it speaks no TLS."""

    control: ServerCertificate | None = None
    http: ServerCertificate | None = None


def load_certificates(settings: Settings, *, has_control: bool, has_http: bool) -> Certificates:
    """Load the certificates of a process.

    Args:
        settings: Name the files.
        has_control: Whether the process serves the control API.
        has_http: Whether it serves the requests of end users.

    Raises:
        InvalidRequest: One cannot be used, or the control API must have one.
    """
    control = http = None
    if has_control:
        control = load_certificate(
            settings.control_tls_cert,
            settings.control_tls_key,
            "FOX_CONTROL_TLS_CERT and FOX_CONTROL_TLS_KEY",
        )
        check_exposure(settings.control_host, has_tls=control is not None)
    if has_http:
        http = load_certificate(
            settings.http_tls_cert,
            settings.http_tls_key,
            "FOX_HTTP_TLS_CERT and FOX_HTTP_TLS_KEY",
        )
    return Certificates(control=control, http=http)


@contextlib.asynccontextmanager
async def follow_certificates(
    certificates: Certificates, on_new_control: Callable[[bytes], None] | None
) -> AsyncIterator[None]:
    """Serve new certificates until the context ends: when their files change, and on SIGHUP.

    Args:
        certificates: Of this process.
        on_new_control: Called with a new certificate of the control API, in another thread.
    """
    followed = {certificates.control: on_new_control, certificates.http: None}
    followed.pop(None, None)
    async with contextlib.AsyncExitStack() as stack:
        for certificate, on_new in followed.items():
            assert certificate is not None  # noqa: S101 - removed above
            following = certificate.follow(on_new)
            await stack.enter_async_context(run_in_background(following, "reading certificates"))
        if followed:
            stack.enter_context(_on_hangup(partial(_ask_all, certificates)))
        yield


def _ask_all(certificates: Certificates) -> None:
    for certificate in filter(None, certificates):
        certificate.ask_to_reload()


@contextlib.contextmanager
def _on_hangup(reload: Callable[[], None]) -> Iterator[None]:
    # In a terminal, SIGHUP says that the terminal was closed, and ends the process.
    if sys.stdin and sys.stdin.isatty():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
