"""The installed adapters and the pod driver, found by their entry points."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from adapters import base as adapters
from adapters.base import AdapterFactory
from adapters.http.server import HttpAdapter
from adapters.http.shared_port import SharedSockets
from broker.runtime.settings import Settings
from broker.runtime.tls import ServerCertificate
from pods import drivers
from pods.drivers import PodDriverFactory


class Plugins(NamedTuple):
    """The adapters and the pod driver of a process."""

    adapters: list[AdapterFactory]
    pod_driver: PodDriverFactory


def load_plugins(
    settings: Settings, sockets: SharedSockets | None, certificate: ServerCertificate | None
) -> Plugins:
    """Import what is installed.

    Args:
        settings: Name the pod driver.
        sockets: Of the HTTP adapter, if other processes share them.
        certificate: Of the HTTP adapter, for TLS.
    """
    prepared = partial(HttpAdapter, sockets=sockets, certificate=certificate)
    loaded = [adapters.load(kind) for kind in adapters.kinds()]
    return Plugins(
        adapters=[prepared if factory is HttpAdapter else factory for factory in loaded],
        pod_driver=drivers.load(settings.pod_driver),
    )
