"""The process of one pod: ``python -m fox.kit.pod``, configured by ``FOX_*`` variables.

A pod is ready once it is subscribed. SIGTERM drains it: it answers the events that it has received,
and exits. If its driver has ended, its standard input ends: the pod drains. A pod whose connection
is closed for good exits. In every case the processes that it started end with it (``pod_end``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from broker.dispatch.event_sender import HOLD_S, EventSender, watch_retries
from broker.dispatch.receiver import Receiver
from broker.dispatch.receiving import MAX_IN_FLIGHT, MAX_WAIT_S, receive
from broker.dispatch.recovery import Recovery
from broker.events.remote_outbox import RemoteOutbox
from broker.nats import bus as nats_bus
from broker.nats.bus import Bus
from broker.nats.credentials.login_channel import PodLogin
from broker.nats.credentials.signer import Signer
from broker.nats.time_source import broker_time, follow_time
from broker.runtime import confinement, gc_tuning, logs
from broker.runtime.confinement import NO_LIMITS, Confinement
from broker.runtime.first_process import end_on_sigterm
from broker.streams.bodies import LIMIT_BYTES, MEMORY_BYTES, BodyMemory
from broker.streams.registry import IDLE_TIMEOUT_S
from broker.telemetry.telemetry import Telemetry, open_telemetry
from fox.kit import output, pod_end
from fox.kit.kit import Kit
from fox.kit.loader import load_kit
from fox.kit.pod_end import EXIT_FAILED, EXIT_S, LAST_ANSWERS_S, ORPHAN_S
from fox.kit.pod_login import LoginSource, login_source, read_login
from fox.kit.ready_pipe import BeatSettings, ReadyPipeWriter
from fox.kit.runs import HUNG_S, Runs, TrackingExecutor
from fox.kit.server import ComponentServer
from fox.kit.variables import Identity
from fox.kit.views import CACHE_BYTES, Views
from kubefox import subjects
from kubefox.component import short
from kubefox.declared_limits import DeclaredLimits
from kubefox.errors import FoxError, InvalidRequest

logger = logging.getLogger(__name__)

HUNG_DRAIN_S = 10.0
"""How long a pod may drain whose handler is considered hung."""


class PodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a driver gives a pod as environment variables.

    Attributes:
        login: Where its login to NATS comes from.
        identity: The component version to serve.
        bundle: Folder of the unpacked bundle.
        entry: Entry file in the component's folder.
        ready_fd: Descriptor of the ready pipe, or None.
        beats: How to send heartbeats, or None.
        has_lifeline: Whether standard input ends when the driver ends.
        log_format: ``json`` or ``console``.
        log_level: Lowest level that is logged.
        telemetry: Whether events are counted and traced.
        body_limit_bytes: Largest body that is buffered for a handler.
        body_memory_bytes: Memory for all buffered bodies together.
        hold_s: How long a call waits for a pod that restarts.
        emit_hung_s: How long the handler of an emitted event may run on after its time limit.
        stream_idle_s: How long a stream may make no progress.
        concurrency: Events of one deployment and virtual environment that are handled at once, if
            the component does not declare it.
        max_wait_s: How long an event may wait for its place.
        context_cache_bytes: Memory for the views of contexts.
        confinement: Rights of the pod, as ``confinement.encode`` returns it; empty for all.
        is_new: Whether no process has served under the pod's id before; False if that is not known.
    """

    login: LoginSource
    identity: Identity
    bundle: Path
    entry: str
    ready_fd: int | None = None
    beats: BeatSettings | None = None
    has_lifeline: bool = False
    log_format: str = "json"
    log_level: str = "INFO"
    telemetry: bool = True
    body_limit_bytes: int = LIMIT_BYTES
    body_memory_bytes: int = MEMORY_BYTES
    hold_s: float = HOLD_S
    emit_hung_s: float = HUNG_S
    stream_idle_s: float = IDLE_TIMEOUT_S
    concurrency: int = MAX_IN_FLIGHT
    max_wait_s: float = MAX_WAIT_S
    context_cache_bytes: int = CACHE_BYTES
    confinement: str = ""
    is_new: bool = False


def load_settings(environ: Mapping[str, str]) -> PodSettings:
    """Return the pod's settings.

    Args:
        environ: Environment variables.

    Raises:
        InvalidRequest: Required variables are missing; the message names all of them.
    """
    login = login_source(environ)
    required = ["APP", "COMPONENT", "HASH", "POD", "BUNDLE", "ENTRY"]
    if login.is_missing:
        required.insert(0, "NATS_URL")
    missing = [f"FOX_{name}" for name in required if not environ.get(f"FOX_{name}")]
    if missing:
        raise InvalidRequest(f"a pod requires these environment variables: {', '.join(missing)}")
    ready_fd = environ.get("FOX_READY_FD")
    return PodSettings(
        login=login,
        identity=Identity(
            app=environ["FOX_APP"],
            component=environ["FOX_COMPONENT"],
            hash=environ["FOX_HASH"],
            pod=environ["FOX_POD"],
        ),
        bundle=Path(environ["FOX_BUNDLE"]),
        entry=environ["FOX_ENTRY"],
        ready_fd=int(ready_fd) if ready_fd else None,
        beats=_beat_settings(environ),
        has_lifeline=environ.get("FOX_LIFELINE") == "stdin",
        log_format=environ.get("FOX_LOG_FORMAT", "json"),
        log_level=environ.get("FOX_LOG_LEVEL", "INFO"),
        telemetry=environ.get("FOX_TELEMETRY", "true") != "false",
        is_new=environ.get("FOX_POD_IS_NEW") == "true",
        # The platform has validated these settings.
        body_limit_bytes=int(environ.get("FOX_BODY_LIMIT_BYTES", LIMIT_BYTES)),
        body_memory_bytes=int(environ.get("FOX_BODY_MEMORY_BYTES", MEMORY_BYTES)),
        hold_s=float(environ.get("FOX_HOLD_S", HOLD_S)),
        emit_hung_s=float(environ.get("FOX_EMIT_HUNG_S", HUNG_S)),
        stream_idle_s=float(environ.get("FOX_STREAM_IDLE_S", IDLE_TIMEOUT_S)),
        concurrency=int(environ.get("FOX_POD_CONCURRENCY", MAX_IN_FLIGHT)),
        max_wait_s=float(environ.get("FOX_POD_MAX_WAIT_S", MAX_WAIT_S)),
        context_cache_bytes=int(environ.get("FOX_CONTEXT_CACHE_BYTES", CACHE_BYTES)),
        confinement=environ.get(confinement.VARIABLE, ""),
    )


def _beat_settings(environ: Mapping[str, str]) -> BeatSettings | None:
    descriptor = environ.get("FOX_BEAT_FD")
    if not descriptor:
        return None
    return BeatSettings(
        descriptor=int(descriptor),
        busy_s=float(environ["FOX_BEAT_S"]),
        idle_s=float(environ["FOX_IDLE_BEAT_S"]),
    )


def main() -> int:
    """Serve until a signal stops the pod; return the exit code."""
    end_on_sigterm()
    pod_end.prepare()
    try:
        settings = load_settings(os.environ)
    except InvalidRequest as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILED
    try:
        login, signer = read_login(settings.login, settings.identity.pod)
        confined = confinement.decode(settings.confinement) if settings.confinement else NO_LIMITS
        if settings.confinement:
            confinement.confine_self(confined)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"error: the pod cannot be confined: {error}\n")
        return EXIT_FAILED
    output.outlive_reader()
    identity = settings.identity
    logs.configure(
        settings.log_format,
        settings.log_level,
        component=identity.component,
        hash=short(identity.hash),
        pod=identity.pod,
    )
    _compile_only_in_memory()
    try:
        kit = load_kit(settings.bundle, identity.component, settings.entry)
    except Exception:
        logger.exception("component %s cannot be loaded", identity.component)
        pod_end.end_within(EXIT_S, EXIT_FAILED)
        return EXIT_FAILED
    confinement.limit_self(_as_confinement(kit.declared_limits, confined))
    gc_tuning.freeze_imported()
    gc_tuning.tune_for_serving()
    return _run(_serve(kit, settings, login, signer))


def _as_confinement(declared: DeclaredLimits, confined: Confinement) -> Confinement:
    """Return what a component declares, for a pod that is confined already."""
    return Confinement(
        memory_bytes=declared.memory_bytes,
        open_files=declared.open_files or 0,
        processes=declared.processes or 0,
        counts_processes=confined.counts_processes,
    )


def _compile_only_in_memory() -> None:
    """Write no compiled code beside the component's: its folder must have the content of its hash.

    The platform's own modules are compiled, and stored for the next pod, before this is called.
    """
    sys.dont_write_bytecode = True
    # For Python processes that the component starts.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _run(serving: Coroutine[Any, Any, int]) -> int:
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        code = runner.run(serving)
    except FoxError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says what to do
        code = EXIT_FAILED
    except BaseException:
        # A task of the component called sys.exit(), or stopped the loop. The pod cannot answer
        # any more, and more events would arrive while the connection is being closed.
        logger.exception("the component ended its event loop")
        pod_end.end_now(EXIT_FAILED)
    pod_end.end_within(EXIT_S, code)
    runner.close()
    return code


async def _serve(kit: Kit, settings: PodSettings, login: PodLogin, signer: Signer | None) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().set_default_executor(TrackingExecutor())
    _stop_on_signals(stop)
    receiver: Receiver | None = None

    def on_orphaned() -> None:
        stop.set()
        if receiver is not None:
            asyncio.get_running_loop().call_later(
                ORPHAN_S - LAST_ANSWERS_S, receiver.fail_in_flight
            )

    if settings.has_lifeline:
        pod_end.hold_lifeline(on_orphaned)
    identity = settings.identity
    connecting = nats_bus.connect(
        login.url,
        process_id=login.process_id,
        credentials=signer,
        follows_all_pods=False,
        sender=identity.sender,
    )
    async with connecting as bus:
        telemetry = Telemetry(identity.component, identity.pod, is_on=settings.telemetry)
        bus.streams.idle_timeout_s = settings.stream_idle_s
        runs = Runs(bus, login.process_id, settings.emit_hung_s)
        runs.on_hung = partial(_end_hung, stop)
        server = _make_server(kit, settings, bus, telemetry, runs)
        ready_pipe = ReadyPipeWriter(settings.ready_fd, settings.beats)
        async with (
            open_telemetry(telemetry, bus),
            follow_time(bus, broker_time),
            runs.serving(bus, _subject(identity)),
            _receiving(server, kit, settings, bus, telemetry, ready_pipe) as receiver,
        ):
            server.prepare = receiver.prepare
            receiver.watch(telemetry.metrics)
            receiver.make_tasks()
            telemetry.rest_while(lambda: not receiver.in_flight)
            ready_pipe.report_ready(lambda: receiver.in_flight)
            logger.info("ready")
            await _stopped_or_closed(stop, bus)
            logger.info("draining")
        return EXIT_FAILED if bus.closed.is_set() else 0


def _subject(identity: Identity) -> str:
    return subjects.component(identity.app, identity.component, identity.hash)


def _make_server(
    kit: Kit, settings: PodSettings, bus: Bus, telemetry: Telemetry, runs: Runs
) -> ComponentServer:
    """Return the server of the component's handlers, whose parts report to the telemetry."""
    identity = settings.identity
    bodies = BodyMemory(settings.body_limit_bytes, settings.body_memory_bytes)
    recovery = Recovery(bus, identity.sender)
    sender = EventSender(bus, identity.sender, settings.hold_s, bus.follow_pods, recovery)
    watch_retries(telemetry.metrics, sender)
    views = Views(bus, identity, telemetry, settings.context_cache_bytes)
    views.watch(telemetry.metrics)
    outbox = RemoteOutbox(bus, identity.sender)
    return ComponentServer(kit, identity, bus, telemetry, outbox, bodies, sender, runs, views)


def _receiving(
    server: ComponentServer,
    kit: Kit,
    settings: PodSettings,
    bus: Bus,
    telemetry: Telemetry,
    ready_pipe: ReadyPipeWriter,
) -> AbstractAsyncContextManager[Receiver]:
    """Return the context in which the pod receives the events of its component version."""
    return receive(
        bus,
        _subject(settings.identity),
        subjects.PODS_QUEUE,
        server.handle,
        source=server.source,
        max_in_flight=kit.concurrency or settings.concurrency,
        max_wait_s=settings.max_wait_s,
        handle_stream=server.handle_stream,
        pod=settings.identity.pod,
        is_new=settings.is_new,
        on_first_event=partial(_on_first_event, telemetry, ready_pipe),
        cancels=kit.cancels_on_disconnect,
        responder=telemetry.process,
    )


def _on_first_event(telemetry: Telemetry, ready_pipe: ReadyPipeWriter) -> None:
    ready_pipe.on_first_event()
    telemetry.wake()


def _end_hung(stop: asyncio.Event) -> None:
    """Drain, and end even if a handler never ends."""
    stop.set()
    pod_end.end_within(HUNG_DRAIN_S, EXIT_FAILED)


async def _stopped_or_closed(stop: asyncio.Event, bus: Bus) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(bus.closed.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            pod_end.end_now(EXIT_FAILED)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


if __name__ == "__main__":
    sys.exit(main())
