"""The composition root: the only module that imports every part of the platform.

Each part is an async context manager. All are entered into one ``AsyncExitStack``, in the order
NATS, broker, outbound adapters, pods, control, inbound adapters. Unwinding the stack is the
drain order, so every request in flight still has the parts that it needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import ChainMap
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext, suppress
from enum import Enum
from functools import partial
from typing import Any

import uvloop

from adapters.base import Adapter
from adapters.http.port_handover import ClaimedPort
from adapters.http.server import HttpAdapter
from adapters.http.shared_port import SharedSockets
from broker.dispatch.broker import open_broker
from broker.events.outbox import ensure_outbox
from broker.nats import bus as nats_bus
from broker.nats.access import Access
from broker.nats.cluster_start import wait_for_leader
from broker.nats.consumer_limit import raise_limit
from broker.nats.credentials import permissions
from broker.nats.credentials.login import Login
from broker.nats.lease import make_leases
from broker.nats.missing_storage import answer_bucket_request
from broker.nats.replicas import keep_replicated
from broker.runtime import gc_tuning, logs
from broker.runtime.background import run_in_background
from broker.runtime.cancelling import finishes_before
from broker.runtime.private_process import keep_private
from broker.runtime.settings import Settings
from broker.storage.bundles import open_bundles
from broker.storage.pod_board import BUCKET as BOARD_BUCKET
from broker.storage.pod_board import open_pod_board
from broker.storage.records_bucket import BUCKET as RECORDS_BUCKET
from control.control_plane import ControlPlane
from fox.certificates import Certificates, follow_certificates, load_certificates
from fox.control_part import ControlParts, open_control
from fox.control_registry import registered
from fox.data_dir import CHECKPOINT_FILE, DataDir, PlatformInfo, open_data_dir
from fox.health import serve_health
from fox.key_encryption import key_encryption
from fox.known_platform import refuse_lost_records
from fox.nats_access import existing_access, new_process_id
from fox.nats_server import NatsServer, run_nats_server
from fox.plugins import Plugins, load_plugins
from fox.pods_part import PodsPart, PodsParts, open_pods
from fox.start_failures import fail, listen_failures
from fox.start_line import show_start
from fox.stop_signals import stop_on_signals
from kubefox import subjects
from kubefox.errors import FoxError, NatsUnavailable
from pods.left_connections import report_left

logger = logging.getLogger(__name__)

EXIT_OK = 0
READY = "KubeFox is ready"
"""The first line on standard output, printed when every part is ready."""


class Role(Enum):
    """A part of the platform that one process runs; ``fox up`` runs all of them."""

    HTTP = permissions.Role.HTTP.value
    ADAPTERS = permissions.Role.ADAPTERS.value
    CONTROL = permissions.Role.CONTROL.value
    PODS = permissions.Role.PODS.value


ALL_ROLES = frozenset(Role)


def log_in(access: Access, roles: frozenset[Role]) -> Login:
    """Return the login to NATS of a process with these roles."""
    process_id = new_process_id()
    rights = [permissions.Role(role.value) for role in roles]
    return access.login(process_id, permissions.for_platform(rights, process_id))


def run_up(settings: Settings) -> int:
    """Run the whole platform on this machine until a signal stops it; return the exit code."""
    return _run(settings, ALL_ROLES)


def run_serve(
    role: Role,
    settings: Settings,
    sockets: SharedSockets | None = None,
    port: ClaimedPort | None = None,
    login: Login | None = None,
) -> int:
    """Run one role against an existing NATS until a signal stops it; return the exit code.

    Args:
        role: The part of the platform.
        settings: Of the process.
        sockets: For the HTTP adapter; None to listen on a port of its own.
        port: The port of the sockets, if this process offers it to its successor.
        login: The login of the process, if its parent has made it.
    """
    if not (settings.nats_url or login):
        return fail("`fox serve` needs the address of NATS: set --nats-url or FOX_NATS_URL")
    return _run(settings, frozenset({role}), sockets, port, login)


def _run(
    settings: Settings,
    roles: frozenset[Role],
    sockets: SharedSockets | None = None,
    port: ClaimedPort | None = None,
    login: Login | None = None,
) -> int:
    logs.configure(settings.log_format, settings.log_level)
    try:
        certificates = load_certificates(
            settings, has_control=Role.CONTROL in roles, has_http=Role.HTTP in roles
        )
        # An import inside the event loop would block it.
        plugins = load_plugins(settings, sockets, certificates.http)
        keep_private()
        gc_tuning.freeze_imported()
        return uvloop.run(_serve(settings, roles, plugins, certificates, port, login))
    except FoxError as error:
        return fail(error.detail)
    except OSError as error:
        return fail(str(error))


async def _serve(
    settings: Settings,
    roles: frozenset[Role],
    plugins: Plugins,
    certificates: Certificates,
    port: ClaimedPort | None,
    login: Login | None,
) -> int:
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        platform = Platform(settings, plugins, certificates, stack, login)
        if not await finishes_before(stop, platform.start(roles)):
            logger.info("stopped before the process was ready")
            return EXIT_OK
        gc_tuning.tune_for_serving()
        if port is not None:
            await stack.enter_async_context(port.announced(stop.set))
        await platform.follow_certificates()
        platform.announce_ready()
        await platform.begin_preparing_lists()
        await platform.show_start()
        return await platform.wait_stopped(stop)


class Platform:
    """The parts of one process, entered into a stack that the caller unwinds.

    Args:
        settings: The settings of the process.
        plugins: The installed adapters and the pod driver.
        certificates: For TLS.
        stack: Unwinding it drains and stops the parts.
        login: The login of the process to NATS, if its parent has made it.
    """

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        certificates: Certificates,
        stack: AsyncExitStack,
        login: Login | None = None,
    ) -> None:
        self._settings = settings
        self._plugins = plugins
        self._certificates = certificates
        self._stack = stack
        self._login = login
        self._nats_credentials = settings.nats_credentials
        self._nats: NatsServer | None = None
        self._data_dir: DataDir | None = None
        self._readiness: dict[str, Callable[[], bool]] = {}
        self._pods: PodsPart | None = None
        self._control: ControlPlane | None = None
        self._http_url = ""
        self._control_url = ""
        self._has_started = False

    async def start(self, roles: frozenset[Role]) -> None:
        """Start the parts of ``roles``. If that is cancelled, the stack closes what is open."""
        readiness = ChainMap(self._readiness, {"start": lambda: self._has_started})
        await self._stack.enter_async_context(serve_health(self._settings, readiness))
        await self.connect(roles)
        role_adapters = self.make_adapters(roles)
        await self.start_adapters([adapter for adapter in role_adapters if not adapter.is_inbound])
        if roles & {Role.PODS, Role.CONTROL}:
            await self.open_board()
        if Role.PODS in roles:
            await self.start_pods()
        if Role.CONTROL in roles:
            await self.start_control()
        await self.start_adapters([adapter for adapter in role_adapters if adapter.is_inbound])

    async def connect(self, roles: frozenset[Role]) -> None:
        """Open the broker; before it, lock the data folder and start the embedded NATS if needed.

        Control has the data folder of the platform, and makes its streams.
        """
        enter = self._stack.enter_async_context
        has_control = Role.CONTROL in roles
        if has_control:
            self._data_dir = self._stack.enter_context(open_data_dir(self._settings.data_dir))
            if not self._settings.nats_url:
                self._nats = await enter(run_nats_server(self._data_dir.nats))
                self._readiness["storage"] = partial(getattr, self._nats, "is_writable")
        login = self._login or await self._log_in(roles)
        self._nats_url = login.url
        self._bus = await enter(
            nats_bus.connect(login.url, process_id=login.process_id, credentials=login.credentials)
        )
        self._bus.makes_streams = has_control
        self._bus.replicas = self._settings.nats_replicas
        await wait_for_leader(self._bus, f"KV_{RECORDS_BUCKET}")
        noting = self._data_dir if self._nats is None else None
        if noting is not None and not self._settings.new_platform:
            await refuse_lost_records(self._bus, noting)
        opening = open_broker(
            self._bus,
            self._settings,
            key_encryption(self._settings),
            creates_keys=has_control,
            with_usage=bool(roles & {Role.PODS, Role.CONTROL}),
            checkpoint_file=self._settings.data_dir / CHECKPOINT_FILE,
            usage_waits=True,
        )
        self._broker = await enter(opening)
        if noting is not None:
            await asyncio.to_thread(noting.note_records)
        self._readiness["nats"] = lambda: self._bus.is_ready
        self._readiness["snapshot"] = lambda: self._broker.store.is_current

    async def _log_in(self, roles: frozenset[Role]) -> Login:
        """Return the login of this process, and keep the access to make those of pods."""
        if self._nats is not None:
            self._access = self._nats.access
            self._nats_credentials = str(self._nats.account_key_file)
        else:
            self._access = await existing_access(self._settings)
        if Role.PODS in roles:
            self._access.check_pods()
        return log_in(self._access, roles)

    def make_adapters(self, roles: frozenset[Role]) -> list[Adapter]:
        """Return the adapters of ``roles``, not started."""
        installed = [make(self._broker, self._settings) for make in self._plugins.adapters]
        return [adapter for adapter in installed if _role_of(adapter) in roles]

    async def start_adapters(self, unstarted: list[Adapter]) -> None:
        """Start adapters, one after another."""
        for adapter in unstarted:
            is_http = isinstance(adapter, HttpAdapter)
            with listen_failures("--http-port") if is_http else nullcontext():
                started = await self._stack.enter_async_context(adapter)
            self._readiness[f"adapter/{started.kind}"] = partial(getattr, started, "is_ready")
            self._http_url = started.url if isinstance(started, HttpAdapter) else self._http_url

    async def open_board(self) -> None:
        """Open the pod board, which pods and control share."""
        self._board = await self._stack.enter_async_context(open_pod_board(self._bus))

    async def start_pods(self) -> None:
        """Start the pods, and serve the requests to this pod runner."""
        revoke = partial(report_left, self._bus) if self._nats is None else self._nats.revoke
        parts = PodsParts(
            settings=self._settings,
            bus=self._bus,
            store=self._broker.store,
            metrics=self._broker.telemetry.metrics,
            board=self._board,
            access=self._access,
            make_driver=self._plugins.pod_driver,
            revoke=revoke,
        )
        self._pods = await self._stack.enter_async_context(open_pods(parts))

    async def start_control(self) -> None:
        """Start the control plane and its API."""
        await make_leases(self._bus)
        await ensure_outbox(self._bus)
        answering = partial(answer_bucket_request, self._bus)
        await self._bus.serve(subjects.BUCKETS, answering, subjects.CONTROL_QUEUE)
        bundles = await open_bundles(self._bus)
        store = self._broker.store
        self._readiness["records"] = lambda: store.is_writable
        self._readiness["bundles"] = lambda: bundles.is_writable
        for bucket in (RECORDS_BUCKET, BOARD_BUCKET):
            with suppress(NatsUnavailable):
                await raise_limit(self._bus, f"KV_{bucket}")
        await self._stack.enter_async_context(keep_replicated(self._bus))
        parts = ControlParts(
            settings=self._settings,
            bus=self._bus,
            broker=self._broker,
            board=self._board,
            bundles=bundles,
            readiness=self._readiness,
            is_embedded=self._nats is not None,
            certificates=self._certificates,
        )
        self._control, self._control_url = await open_control(
            parts, self._stack.enter_async_context
        )

    async def follow_certificates(self) -> None:
        """Begin to serve new certificates when their files change."""
        data_dir, control = self._data_dir, self._certificates.control
        write = None if data_dir is None else data_dir.write_certificate
        if write is not None and control is not None:
            write(control.pem)
        await self._stack.enter_async_context(follow_certificates(self._certificates, write))

    def announce_ready(self) -> None:
        """Publish the platform's URLs: in the data folder for the CLI, and on standard output."""
        self._has_started = True
        info = PlatformInfo(
            pid=os.getpid(),
            http_url=self._http_url,
            control_url=self._control_url,
            nats_url=self._nats_url,
            nats_credentials=self._nats_credentials,
        )
        if self._data_dir is not None:
            self._data_dir.write_info(info)
            self._stack.enter_context(registered(info.control_url, self._data_dir.path))
        self._broker.store.begin_usage()
        lines = [READY]
        lines += [f"  requests  {info.http_url}"] if info.http_url else []
        lines += [f"  control   {info.control_url}"] if info.control_url else []
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    async def begin_preparing_lists(self) -> None:
        """Begin to sort what users list first, if this process runs the control plane."""
        if self._control is not None:
            preparing = self._control.lists.prepare()
            await self._stack.enter_async_context(run_in_background(preparing, "sorting the lists"))

    async def show_start(self) -> None:
        """Begin to show how far the start of the pods has come, if this process runs pods."""
        if self._pods is not None:
            showing = show_start(self._pods.progress)
            await self._stack.enter_async_context(
                run_in_background(showing, "showing the start of the pods")
            )

    async def wait_stopped(self, stop: asyncio.Event) -> int:
        """Return the exit code when ``stop`` is set.

        Raises:
            NatsUnavailable: The embedded nats-server ended, or the connection to NATS is closed
                and not retried.
        """
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self._bus.closed.wait()),
        ]
        if self._nats is not None:
            ends.append(self._nats.exited)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._nats is not None and self._nats.exited.done():
            raise NatsUnavailable(f"the embedded nats-server ended:\n{self._nats.last_lines}")
        if not stop.is_set():
            raise NatsUnavailable("the connection to NATS is closed and is not retried")
        logger.info("draining: a second signal ends the process at once")
        return EXIT_OK


def _role_of(adapter: Adapter) -> Role:
    return Role.HTTP if isinstance(adapter, HttpAdapter) else Role.ADAPTERS
