"""The control API's server: listens, and on its way out finishes what it has begun."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping

from aiohttp import web

from broker.api.application import Api
from broker.api.guard import Guard
from broker.api.operation import Parts
from broker.api.operations.every import OPERATIONS
from broker.control.control import Control
from broker.dead_letters import DeadLetters
from broker.pod_logs import PodLogs
from broker.telemetry.collector import Collector

logger = logging.getLogger(__name__)

SHUTDOWN_S = 10.0


class ControlApi:
    """A server that listens; made by ``open_control_api``.

    Attributes:
        host: Address it listens on.
        port: Its port, whichever was free if 0 was asked for.
    """

    def __init__(self, host: str, port: int) -> None:
        """Name a server that listens already."""
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """Where clients connect."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@contextlib.asynccontextmanager
async def open_control_api(
    control: Control,
    logs: PodLogs,
    collector: Collector,
    dead_letters: DeadLetters,
    *,
    host: str,
    port: int,
    version: str,
    readiness: Mapping[str, Callable[[], bool]],
    allowed_hosts: Collection[str] = (),
) -> AsyncIterator[ControlApi]:
    """Serve the control API until the context ends; then finish what was begun.

    Args:
        control: The rules.
        logs: Pods' output.
        collector: Figures and traces.
        dead_letters: Events that were given up.
        host: Address to listen on; on loopback, requests under other host names are refused.
        port: 0 takes any free one.
        version: Of the platform.
        readiness: Whether each part of the process is ready, by its name.
        allowed_hosts: Further names that clients may use for a loopback address.

    Raises:
        OSError: The address is in use, or not one of this machine.
    """
    parts = Parts(
        control=control,
        logs=logs,
        collector=collector,
        dead_letters=dead_letters,
        version=version,
        readiness=readiness,
    )
    api = Api(parts, Guard(host, allowed_hosts))
    runner = web.AppRunner(
        api.application(OPERATIONS),
        access_log=None,
        handle_signals=False,
        # A stream ends when its reader leaves; writes are shielded, see Api.
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        listening = ControlApi(host, int(runner.addresses[0][1]))
        logger.info("control API on %s", listening.url)
        yield listening
    finally:
        await runner.cleanup()
