"""``fox serve http``: one process, or with ``--workers N`` a parent and N that share a port.

The parent holds the listening sockets (``adapters.http.shared_port``) and accepts nothing. It
replaces a worker that ended, and on SIGHUP all of them, one after another. Connections that wait in
a worker's socket meanwhile are accepted by the other workers or by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import sys

import msgspec
import uvloop

from adapters.http.port_handover import ClaimedPort, claim_port
from adapters.http.shared_port import SharedSockets, share
from broker.runtime import logs
from broker.runtime.private_process import keep_private
from broker.runtime.settings import Settings
from fox.http_worker import HttpWorker, start_worker
from fox.nats_access import existing_access
from fox.platform import EXIT_OK, READY, Role, log_in, run_serve
from fox.start_failures import EXIT_FAILED, fail, listen_failure
from kubefox.errors import FoxError
from pods.backoff import BackOff

logger = logging.getLogger(__name__)

START_ATTEMPTS = 3
"""Ends in a row, each before the worker was ready, after which starting it is given up."""


def run_http(settings: Settings) -> int:
    """Run the HTTP adapter, in ``settings.http_workers`` processes, until a signal stops it.

    Returns:
        0 when a signal stopped it or another process has taken the port over, else 1.
    """
    if not settings.nats_url:
        return run_serve(Role.HTTP, settings)  # prints that the address of NATS is missing
    logs.configure(settings.log_format, settings.log_level)
    keep_private()
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # As after `trap "" CHLD`: the kernel would keep no exit code of a worker.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        with claim_port(settings, settings.http_workers) as port:
            settings = msgspec.structs.replace(settings, http_port=port.port)
            if settings.http_workers > 1:
                return uvloop.run(_Workers(settings, port).run())
            copies = tuple(shared.dup() for shared in port.sockets)
            return run_serve(Role.HTTP, settings, SharedSockets(copies), port)
    except FoxError as error:
        return fail(error.detail)
    except OSError as error:
        return fail(_claim_failure(error, f"{settings.http_host}:{settings.http_port}"))


def _claim_failure(error: OSError, address: str) -> str:
    message = listen_failure(error, "--http-port", address)
    if error.errno != errno.EADDRINUSE:
        return message
    return f"{message}, or take it over from a running `fox serve http` with --take-over"


def must_give_up(
    failed_starts: int, code: int | None, *, has_been_ready: bool, others_serve: bool
) -> bool:
    """Return whether all workers are stopped because one has ended, instead of starting another.

    Args:
        failed_starts: Workers in a row that ended before they were ready, 0 after a ready one.
        code: Exit code of the last one; None if it could not be started.
        has_been_ready: Whether all workers were ready once.
        others_serve: Whether another worker accepts requests.
    """
    if has_been_ready:
        return failed_starts >= START_ATTEMPTS and not others_serve
    # A worker that was not killed has printed its reason, and the next one would end as it did.
    return failed_starts >= START_ATTEMPTS or (failed_starts > 0 and code == EXIT_FAILED)


class _Slot:
    """The place of one worker, with its sockets; one process after another fills it.

    Attributes:
        number: From 1, for log lines.
        sockets: Of its workers.
        worker: The process that fills it, or was the last one to do so.
    """

    def __init__(self, number: int, sockets: SharedSockets) -> None:
        self.number = number
        self.sockets = sockets
        self.worker: HttpWorker | None = None

    @property
    def is_serving(self) -> bool:
        """Whether its worker accepts requests."""
        return self.worker is not None and self.worker.is_serving


class _Workers:
    """The worker processes.

    Args:
        settings: Passed to each worker by its environment.
        port: The workers share its sockets.
    """

    def __init__(self, settings: Settings, port: ClaimedPort) -> None:
        self._settings = settings
        self._port = port
        count = settings.http_workers
        self._slots = [
            _Slot(index + 1, share(port.sockets, index, count)) for index in range(count)
        ]
        self._running: dict[HttpWorker, asyncio.Task[int | None]] = {}
        self._ready_or_stopping = asyncio.Event()
        self._stopping = asyncio.Event()
        self._has_been_ready = self._is_rolling = self._has_failed = False

    async def run(self) -> int:
        """Start the workers; return the exit code when all of them have ended."""
        self._access = await existing_access(self._settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        async with asyncio.TaskGroup() as self._group:
            if not (sys.stdin and sys.stdin.isatty()):
                # In a terminal, SIGHUP says that the terminal was closed, and ends the process.
                loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
            for slot in self._slots:
                self._group.create_task(self._keep(slot))
            self._group.create_task(self._announce())
        return EXIT_FAILED if self._has_failed else EXIT_OK

    async def _announce(self) -> None:
        """Print the ready line when all workers are ready, and offer the port until the end."""
        await self._ready_or_stopping.wait()
        if self._stopping.is_set():
            return
        self._has_been_ready = True
        async with self._port.announced(self._stop):
            scheme = "https" if self._settings.http_tls_cert else "http"
            url = f"{scheme}://{self._settings.http_host}:{self._settings.http_port}"
            sys.stdout.write(f"{READY}\n  requests  {url}\n")
            sys.stdout.flush()
            await self._stopping.wait()

    async def _keep(self, slot: _Slot) -> None:
        """Start a worker, and another one whenever it has ended."""
        back_off, failed_starts = BackOff(), 0
        worker = slot.worker = await self._start(slot)
        self._check_ready()  # it may have been ready before the slot knew it
        while True:
            code = await self._ended(worker)
            if self._stopping.is_set():
                self._has_failed = self._has_failed or not worker.has_stopped
                return
            if slot.worker is worker:
                failed_starts = 0 if worker.was_ready else failed_starts + 1
                if must_give_up(
                    failed_starts,
                    code,
                    has_been_ready=self._has_been_ready,
                    others_serve=any(other.is_serving for other in self._slots),
                ):
                    self._give_up(slot, worker, failed_starts)
                    return
                back_off = back_off.after_death(worker.ready_for_s)
                await self._pause(slot, worker, back_off.delay_s)
            if slot.worker is worker:
                if self._stopping.is_set():
                    return
                await self._refill(slot, worker)
            worker = slot.worker

    async def _refill(self, slot: _Slot, ended: HttpWorker) -> None:
        """Start the worker that follows one that has ended."""
        started = await self._start(slot)
        if slot.worker is ended:
            slot.worker = started
            self._check_ready()
            self._group.create_task(self._log_ready(slot, started))
        else:  # SIGHUP has filled the slot meanwhile
            started.drain()
            self._group.create_task(self._ended(started))

    def _give_up(self, slot: _Slot, worker: HttpWorker, failed_starts: int) -> None:
        logger.error(
            "worker %d %s, attempt %d: stopping all workers",
            *(slot.number, worker.failed_start_text, failed_starts),
        )
        self._has_failed = True
        self._stop()

    async def _pause(self, slot: _Slot, worker: HttpWorker, delay_s: float) -> None:
        """Wait before the next start, or until all workers are stopped."""
        logger.error(
            "worker %d%s %s: the next one starts in %g s",
            *(slot.number, worker.title, worker.end_text, delay_s),
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    async def _log_ready(self, slot: _Slot, worker: HttpWorker) -> None:
        if await worker.wait_ready() and slot.worker is worker:
            logger.info("worker %d is process %d now", slot.number, worker.pid)

    async def _start(self, slot: _Slot) -> HttpWorker:
        if self._stopping.is_set():
            worker = HttpWorker(self._check_ready, "all workers are stopped")
        else:
            login = log_in(self._access, frozenset({Role.HTTP}))
            worker = await start_worker(self._settings, login, slot.sockets, self._check_ready)
        self._running[worker] = self._group.create_task(worker.follow())
        if self._stopping.is_set():
            worker.drain()  # the signal came while it was started
        return worker

    async def _ended(self, worker: HttpWorker) -> int | None:
        """Return the exit code of a worker once it has ended; see ``HttpWorker.follow``."""
        code = await self._running[worker]
        self._running.pop(worker, None)
        return code

    def _check_ready(self) -> None:
        if all(slot.is_serving for slot in self._slots):
            self._ready_or_stopping.set()

    def _on_hangup(self) -> None:
        if self._has_been_ready and not (self._is_rolling or self._stopping.is_set()):
            self._group.create_task(self._roll())
        else:
            logger.warning("SIGHUP is ignored: the workers are being started or stopped")

    async def _roll(self) -> None:
        """Replace the workers, one after another: the next one is ready before the old one ends."""
        self._is_rolling = True
        try:
            for slot in self._slots:
                # SIGTERM may have come together with SIGHUP.
                if self._stopping.is_set() or not await self._replace(slot):
                    return
            logger.info("all workers are replaced")
        finally:
            self._is_rolling = False

    async def _replace(self, slot: _Slot) -> bool:
        """Replace the worker of a slot; return False if the new one does not become ready."""
        new = await self._start(slot)
        if not await new.wait_ready():
            await self._ended(new)
            logger.error(
                "worker %d is not replaced: the new one%s %s",
                *(slot.number, new.title, new.failed_start_text),
            )
            return False
        old, slot.worker = slot.worker, new
        logger.info("worker %d is process %d now", slot.number, new.pid)
        if old in self._running:
            old.drain()
            await self._running[old]
        return True

    def _stop(self) -> None:
        """Let all workers drain; end them at the second call."""
        is_second = self._stopping.is_set()
        self._stopping.set()
        self._ready_or_stopping.set()
        self._port.close_sockets()
        for worker in self._running:
            if is_second:
                worker.terminate()
            else:
                worker.drain()
