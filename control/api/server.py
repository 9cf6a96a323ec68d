"""The server of the control API: listens, and finishes running operations when it stops."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping

from aiohttp import web

from broker.events.dead_letters import DeadLetters
from broker.runtime.tls import ServerCertificate
from broker.storage.pod_logs import PodLogReader
from broker.storage.token_store import TokenStore
from broker.telemetry.collector import Collector
from control.access.access import Access
from control.api.application import ApiApplication
from control.api.exposure import check_exposure
from control.api.guard import Guard
from control.api.malformed_requests import protocol_logger
from control.api.operation import ApiServices
from control.api.operations.all import OPERATIONS
from control.api.request_decoding import MAX_JSON_BYTES
from control.control_plane import ControlPlane
from control.status import RunCheck

logger = logging.getLogger(__name__)

SHUTDOWN_S = 10.0
NO_CHECKS: Mapping[str, RunCheck] = {}


class ControlApi:
    """A listening server; created by ``open_control_api``.

    Attributes:
        host: Address it listens on.
        port: Port it listens on.
        has_tls: Whether its clients must speak TLS.
    """

    def __init__(self, host: str, port: int, *, has_tls: bool = False) -> None:
        self.host = host
        self.port = port
        self.has_tls = has_tls

    @property
    def url(self) -> str:
        """URL for clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.has_tls else 'http'}://{host}:{self.port}"


@contextlib.asynccontextmanager
async def open_control_api(
    control: ControlPlane,
    logs: PodLogReader,
    collector: Collector,
    dead_letters: DeadLetters,
    tokens: TokenStore,
    *,
    access: Access,
    host: str,
    port: int,
    version: str,
    readiness: Mapping[str, Callable[[], bool]],
    allowed_hosts: Collection[str] = (),
    max_json_bytes: int = MAX_JSON_BYTES,
    certificate: ServerCertificate | None = None,
    checks: Mapping[str, RunCheck] = NO_CHECKS,
) -> AsyncIterator[ControlApi]:
    """Serve the control API until the context ends, then finish the running operations.

    Args:
        control: Validates and executes changes.
        logs: Reads the output of pods.
        collector: Collects statistics and traces.
        dead_letters: Emitted events that could not be delivered.
        tokens: Tokens of the control API.
        access: Knows the callers, and what is recorded of them.
        host: Address to listen on.
        port: Port to listen on; 0 chooses a free port.
        version: Version of the platform.
        readiness: Functions that return whether a part of the process is ready, by its name.
        allowed_hosts: Host names that clients may use; other names are refused.
        max_json_bytes: Limit of a JSON body.
        certificate: For TLS; None for plain HTTP, which only loopback addresses may have.
        checks: Of the status of the platform, by their names and in order.

    Raises:
        InvalidRequest: The address is beyond loopback, and there is no certificate.
        OSError: The address is in use, or is not an address of this machine.
    """
    check_exposure(host, has_tls=certificate is not None)
    services = ApiServices(
        control=control,
        logs=logs,
        collector=collector,
        dead_letters=dead_letters,
        tokens=tokens,
        audit=access.audit,
        version=version,
        readiness=readiness,
        checks=checks,
    )
    guard = Guard(host, allowed_hosts)
    api = ApiApplication(services, guard, access, max_json_bytes=max_json_bytes)
    runner = _runner(api)
    await runner.setup()
    try:
        context = certificate.context if certificate else None
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        listening = ControlApi(host, int(runner.addresses[0][1]), has_tls=context is not None)
        logger.info("control API listens on %s", listening.url)
        yield listening
    finally:
        await runner.cleanup()


def _runner(api: ApiApplication) -> web.AppRunner:
    return web.AppRunner(
        api.application(OPERATIONS),
        access_log=None,
        logger=protocol_logger(),
        handle_signals=False,
        # A stream ends when its client disconnects; operations are shielded by ApiApplication.
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_S,
    )
