"""The composition root: the only place that knows every part of the platform.

Each part is an async context manager. They are entered in one ``AsyncExitStack`` in the order NATS,
broker, what pods need, pods, control, what lets requests in; unwinding it is the drain order, so
nothing in flight loses what it still needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext
from enum import Enum
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import uvloop

from adapters import base as adapters
from adapters.base import Adapter, AdapterFactory
from adapters.cron_schedule import parse as check_schedule
from adapters.http.server import HttpAdapter
from broker import bus as nats_bus
from broker import garbage, logs
from broker.api.server import open_control_api
from broker.broker import open_broker
from broker.bundles import open_bundles
from broker.control.control import Control
from broker.dead_letters import open_dead_letters
from broker.pod_board import open_pod_board
from broker.settings import Settings
from broker.state_buckets import StateBuckets
from broker.telemetry.collector import open_collector
from fox.data_dir import DataDir, PlatformInfo, open_data_dir
from fox.nats_server import NatsServer, run_nats_server
from model.errors import FoxError, NatsUnavailable, Unavailable
from model.names import clean_name
from pods import drivers
from pods.drivers import PodDriverFactory
from pods.fleet import Limits
from pods.logs import open_logs
from pods.reconciler import open_reconciler

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_FORCED = 130
READY = "KubeFox is ready"
"""The first line on standard output, once everything is."""


class Role(Enum):
    """What one process of the platform does; ``fox up`` does it all."""

    HTTP = "http"
    ADAPTERS = "adapters"
    CONTROL = "control"


ALL_ROLES = frozenset(Role)


def run_up(settings: Settings) -> int:
    """Run the whole platform on this machine until told to stop; return the exit code."""
    return _run(settings, ALL_ROLES)


def run_serve(role: Role, settings: Settings) -> int:
    """Run one role against an existing NATS until told to stop; return the exit code."""
    if not settings.nats_url:
        return _fail("`fox serve` needs the address of NATS: give --nats-url or FOX_NATS_URL")
    return _run(settings, frozenset({role}))


def _run(settings: Settings, roles: frozenset[Role]) -> int:
    logs.configure(settings.log_format, settings.log_level)
    try:
        # Entry points are imported here: an import within the loop would hold it up.
        installed = Installed(
            adapters=[adapters.load(kind) for kind in adapters.kinds()],
            pod_driver=drivers.load(settings.pod_driver),
        )
        return uvloop.run(_serve(settings, roles, installed))
    except FoxError as error:
        return _fail(error.detail)
    except OSError as error:
        return _fail(str(error))


class Installed(NamedTuple):
    """The parts found by their entry points."""

    adapters: list[AdapterFactory]
    pod_driver: PodDriverFactory


async def _serve(settings: Settings, roles: frozenset[Role], installed: Installed) -> int:
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        platform = Platform(settings, installed, stack)
        await platform.connect(keeps_data=Role.CONTROL in roles)
        made = platform.make_adapters(roles)
        await platform.serve([each for each in made if not each.is_inbound])
        if Role.CONTROL in roles:
            await platform.control()
        await platform.serve([each for each in made if each.is_inbound])
        garbage.settle()
        platform.tell_ready()
        return await platform.wait_end(stop)


class Platform:
    """The parts of one process, entered into one stack that its owner unwinds.

    Args:
        settings: Of the process.
        installed: What it can be made of.
        stack: Unwinding it is the drain.
    """

    def __init__(self, settings: Settings, installed: Installed, stack: AsyncExitStack) -> None:
        """Start with nothing running."""
        self._settings = settings
        self._installed = installed
        self._stack = stack
        self._nats_url = settings.nats_url
        self._nats: NatsServer | None = None
        self._data_dir: DataDir | None = None
        self._readiness: dict[str, Callable[[], bool]] = {}
        self._http_url = ""
        self._control_url = ""

    async def connect(self, *, keeps_data: bool) -> None:
        """Take the data folder, start NATS unless there is one, and open the broker.

        Args:
            keeps_data: Whether this process has a data folder.
        """
        enter = self._stack.enter_async_context
        if keeps_data:
            self._data_dir = self._stack.enter_context(open_data_dir(self._settings.data_dir))
            if not self._nats_url:
                self._nats = await enter(run_nats_server(self._data_dir.nats))
                self._nats_url = self._nats.url
                self._readiness["storage"] = partial(getattr, self._nats, "takes_writes")
        host = clean_name(socket.gethostname()) or "host"
        process_id = f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
        self._bus = await enter(nats_bus.connect(self._nats_url, process_id=process_id))
        self._broker = await enter(open_broker(self._bus, self._settings))
        self._readiness["nats"] = lambda: self._bus.is_ready
        self._readiness["snapshot"] = lambda: self._broker.store.is_current

    def make_adapters(self, roles: frozenset[Role]) -> list[Adapter]:
        """Return the adapters of ``roles``; none of them serves yet."""
        made = [make(self._broker, self._settings) for make in self._installed.adapters]
        return [each for each in made if _role_of(each) in roles]

    async def serve(self, made: list[Adapter]) -> None:
        """Let adapters serve, one after another."""
        for each in made:
            with _listening("--http-port") if isinstance(each, HttpAdapter) else nullcontext():
                adapter = await self._stack.enter_async_context(each)
            self._readiness[f"adapter/{adapter.kind}"] = partial(getattr, adapter, "is_ready")
            self._http_url = adapter.url if isinstance(adapter, HttpAdapter) else self._http_url

    async def control(self) -> None:
        """Run pods, and serve the control API."""
        enter = self._stack.enter_async_context
        settings, path = self._settings, self._settings.data_dir.resolve()
        bundles = await open_bundles(self._bus)
        board = await enter(open_pod_board(self._bus))
        pod_logs = await enter(open_logs(path / "logs"))
        driver = self._installed.pod_driver(
            data_dir=path,
            nats_url=self._nats_url,
            fetch=bundles.get,
            logs=pod_logs,
            grace_s=settings.drain_s,
            liveness_s=settings.pod_liveness_s,
            # `fox logs` finds lines by their fields, and makes them readable.
            log_format="json",
            log_level=settings.log_level,
        )
        holder = f"{socket.gethostname()}:{path}"
        limits = Limits(event_ttl_s=settings.event_ttl_s, idle_s=settings.pod_idle_s)
        store = self._broker.store
        self._readiness["records"] = lambda: store.takes_writes
        self._readiness["bundles"] = lambda: bundles.takes_writes
        reconciler = await enter(
            open_reconciler(self._bus, store, board, driver, holder=holder, limits=limits)
        )
        metrics = self._broker.telemetry.metrics
        metrics.watch_counter("pod_sleeps", lambda: reconciler.counts.sleeps)
        metrics.watch_counter("pod_wakes", lambda: reconciler.counts.wakes)
        control = Control(
            store,
            bundles,
            board,
            adapters=frozenset(adapters.kinds()),
            check_schedule=check_schedule,
            states=StateBuckets(self._bus),
            tidy=driver.tidy,
        )
        await enter(control.activator)
        serving = open_control_api(
            control,
            pod_logs,
            await enter(open_collector(self._bus, board)),
            await open_dead_letters(self._bus),
            host=settings.control_host,
            port=settings.control_port,
            version=version("kubefox"),
            readiness=self._readiness,
        )
        with _listening("--control-port"):
            self._control_url = (await enter(serving)).url

    def tell_ready(self) -> None:
        """Say where the platform is: in its data folder for the CLI, and on standard output."""
        info = PlatformInfo(
            pid=os.getpid(),
            http_url=self._http_url,
            control_url=self._control_url,
            nats_url=self._nats_url,
        )
        if self._data_dir is not None:
            self._data_dir.write_info(info)
        lines = [READY]
        lines += [f"  requests  {info.http_url}"] if info.http_url else []
        lines += [f"  control   {info.control_url}"] if info.control_url else []
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    async def wait_end(self, stop: asyncio.Event) -> int:
        """Return the exit code once told to stop.

        Raises:
            NatsUnavailable: NATS is gone for good.
        """
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self._bus.closed.wait()),
        ]
        if self._nats is not None:
            ends.append(self._nats.exited)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._nats is not None and self._nats.exited.done():
            raise NatsUnavailable(f"the embedded nats-server died:\n{self._nats.last_lines}")
        if not stop.is_set():
            raise NatsUnavailable("the connection to NATS was closed for good")
        logger.info("draining; a second signal ends it at once")
        return EXIT_OK


@contextmanager
def _listening(option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise Unavailable(f"cannot listen: {reason}; another port is set by {option}") from error


def _role_of(adapter: Adapter) -> Role:
    return Role.HTTP if isinstance(adapter, HttpAdapter) else Role.ADAPTERS


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            # Pods see the end of their standard input, the kernel ends nats-server.
            os._exit(EXIT_FORCED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return EXIT_FAILED
