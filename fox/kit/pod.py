"""The process of one pod: ``python -m fox.kit.pod``, told who it is by ``FOX_*`` variables.

Ready means subscribed. SIGTERM drains: what was received is answered. A pod whose driver is gone
sees the end of its standard input and drains as well, and takes along what it started; one whose
connection closes for good exits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from broker import bus as nats_bus
from broker import garbage, logs
from broker.bodies import LIMIT_BYTES, MEMORY_BYTES, Bodies
from broker.bus import Bus
from broker.outbox import Outbox
from broker.receiver import receive
from broker.stream import IDLE_S
from broker.telemetry.telemetry import Telemetry, open_telemetry
from fox.kit.context import Identity
from fox.kit.kit import Kit
from fox.kit.loader import load_kit
from fox.kit.ready import ReadyPipe
from fox.kit.server import ComponentServer
from model import subjects
from model.component import short
from model.errors import FoxError, InvalidRequest

logger = logging.getLogger(__name__)

EXIT_FAILED = 1
ORPHAN_S = 2
"""How long a pod whose driver is gone may drain."""


class PodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver tells a pod; see ``docs/architecture.md``, "Pods".

    Attributes:
        nats_url: Where to connect.
        identity: Which component version this is.
        bundle: Folder of the unpacked bundle.
        entry: Entry file in the component's folder.
        ready_fd: Descriptor to say ``ready`` on, or None.
        beat_s: How often to say there that the event loop runs, or None.
        has_lifeline: Whether standard input ends when the driver is gone.
        log_format: ``json`` or ``console``.
        log_level: Lowest level shown.
        telemetry: Whether events are counted and traced.
        body_limit_bytes: Largest body that is put together for a handler.
        body_memory_bytes: What all of them may take together.
        stream_idle_s: How long a stream may go without progress.
    """

    nats_url: str
    identity: Identity
    bundle: Path
    entry: str
    ready_fd: int | None = None
    beat_s: float | None = None
    has_lifeline: bool = False
    log_format: str = "json"
    log_level: str = "INFO"
    telemetry: bool = True
    body_limit_bytes: int = LIMIT_BYTES
    body_memory_bytes: int = MEMORY_BYTES
    stream_idle_s: float = IDLE_S


def load_settings(environ: Mapping[str, str]) -> PodSettings:
    """Return the pod's settings.

    Raises:
        InvalidRequest: Variables are missing; all of them are named.
    """
    required = ("NATS_URL", "APP", "COMPONENT", "HASH", "POD", "BUNDLE", "ENTRY")
    missing = [f"FOX_{name}" for name in required if not environ.get(f"FOX_{name}")]
    if missing:
        raise InvalidRequest(f"a pod needs these variables: {', '.join(missing)}")
    ready_fd, beat_s = environ.get("FOX_READY_FD"), environ.get("FOX_BEAT_S")
    return PodSettings(
        nats_url=environ["FOX_NATS_URL"],
        identity=Identity(
            app=environ["FOX_APP"],
            component=environ["FOX_COMPONENT"],
            hash=environ["FOX_HASH"],
            pod=environ["FOX_POD"],
        ),
        bundle=Path(environ["FOX_BUNDLE"]),
        entry=environ["FOX_ENTRY"],
        ready_fd=int(ready_fd) if ready_fd else None,
        beat_s=float(beat_s) if beat_s else None,
        has_lifeline=environ.get("FOX_LIFELINE") == "stdin",
        log_format=environ.get("FOX_LOG_FORMAT", "json"),
        log_level=environ.get("FOX_LOG_LEVEL", "INFO"),
        telemetry=environ.get("FOX_TELEMETRY", "true") != "false",
        # The platform, whose settings they are, has checked them.
        body_limit_bytes=int(environ.get("FOX_BODY_LIMIT_BYTES", LIMIT_BYTES)),
        body_memory_bytes=int(environ.get("FOX_BODY_MEMORY_BYTES", MEMORY_BYTES)),
        stream_idle_s=float(environ.get("FOX_STREAM_IDLE_S", IDLE_S)),
    )


def main() -> int:
    """Serve until told to stop; return the exit code."""
    try:
        settings = load_settings(os.environ)
    except InvalidRequest as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILED
    identity = settings.identity
    logs.configure(
        settings.log_format,
        settings.log_level,
        component=identity.component,
        hash=short(identity.hash),
        pod=identity.pod,
    )
    try:
        kit = load_kit(settings.bundle, identity.component, settings.entry)
    except Exception:
        logger.exception("component %s cannot be loaded", identity.component)
        return EXIT_FAILED
    garbage.settle()
    return _run(_serve(kit, settings))


def _run(serving: Coroutine[Any, Any, int]) -> int:
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        code = runner.run(serving)
    except FoxError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        code = EXIT_FAILED
    except BaseException:
        # A task of the component's own called sys.exit(), or stopped the loop. Nothing can be
        # answered any more: while the rest is being closed, more events would come and wait.
        logger.exception("the component ended its event loop")
        os._exit(EXIT_FAILED)
    runner.close()
    return code


async def _serve(kit: Kit, settings: PodSettings) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    orphaned = _hold_lifeline(stop) if settings.has_lifeline else threading.Event()
    identity = settings.identity
    # A restarted pod keeps its name, but never takes replies meant for the process before it.
    process_id = f"{identity.pod}-{secrets.token_hex(4)}"
    async with nats_bus.connect(settings.nats_url, process_id=process_id) as bus:
        telemetry = Telemetry(identity.component, identity.pod, is_on=settings.telemetry)
        bus.streams.idle_s = settings.stream_idle_s
        bodies = Bodies(settings.body_limit_bytes, settings.body_memory_bytes)
        server = ComponentServer(kit, identity, bus, telemetry, Outbox(bus), bodies)
        subject = subjects.component(identity.app, identity.component, identity.hash)
        serving = receive(
            bus,
            subject,
            subjects.PODS_QUEUE,
            server.handle,
            source=server.source,
            handle_stream=server.handle_stream,
        )
        async with open_telemetry(telemetry, bus), serving:
            ReadyPipe(settings.ready_fd, settings.beat_s).tell_ready()
            logger.info("ready")
            await _stopped_or_closed(stop, bus)
            logger.info("draining")
        code = EXIT_FAILED if bus.closed.is_set() else 0
    if orphaned.is_set():
        _end_session()
    return code


async def _stopped_or_closed(stop: asyncio.Event, bus: Bus) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(bus.closed.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(EXIT_FAILED)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def _hold_lifeline(stop: asyncio.Event) -> threading.Event:
    """Stop when standard input ends; a thread waits, because a handler may block the loop.

    Returns:
        What is set when it has ended.
    """
    loop = asyncio.get_running_loop()
    ended = threading.Event()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        ended.set()
        loop.call_soon_threadsafe(stop.set)
        # Nobody is left to force us.
        time.sleep(ORPHAN_S)
        _end_session()
        os._exit(EXIT_FAILED)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
    return ended


def _end_session() -> None:
    """End what this process has started, and itself: the driver would have, but it is gone."""
    if os.getsid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
