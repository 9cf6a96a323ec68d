"""Answers the pods that start: each gets a login of its own, and the bundle of its version."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import msgspec

from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidEvent
from kubefox.formats import POD_ID
from pods.base import PodSpec
from pods.kubernetes.bundle_files import BundleFiles
from pods.kubernetes.manifests import workload_name
from pods.kubernetes.start_exchange import (
    CHUNK_BYTES,
    PLATFORM_VERSION,
    StartReply,
    StartRequest,
    decode_request,
    encode,
)
from pods.logins import Logins

logger = logging.getLogger(__name__)

FindSpec = Callable[[str], PodSpec | None]
"""Returns a pod of the version whose sender has these tokens; None if none is to run."""


class StartServer:
    """Answers the requests on ``pods.start.…``; made by ``serve_starts``.

    Args:
        bus: Connection to use.
        find_spec: Finds the versions that run.
        logins: Makes the logins.
        bundles: Has the bundles.
    """

    def __init__(self, bus: Bus, find_spec: FindSpec, logins: Logins, bundles: BundleFiles) -> None:
        self._bus = bus
        self._find_spec = find_spec
        self._logins = logins
        self._bundles = bundles
        self._answering: set[asyncio.Task[None]] = set()

    def accept(self, subject: str, payload: bytes, reply: str) -> None:
        """Accept a request and return at once; a ``MessageCallback``.

        Raises:
            InvalidEvent: The request has no reply subject.
        """
        if not reply:
            raise InvalidEvent("the request has no reply subject")
        try:
            request = decode_request(payload)
        except DECODE_ERRORS as error:
            self._bus.malformed.note(subject, error)
            return
        task = asyncio.create_task(self._answer(subjects.starter(subject), request, reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def close(self) -> None:
        """Cancel the requests that are not answered yet; their pods ask again."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, sender: str, request: StartRequest, reply: str) -> None:
        try:
            answer = await self._find_answer(sender, request)
        except Exception:
            logger.exception("pod %s gets no answer at its start", request.pod)
            answer = StartReply(fault="the platform failed: its log says why")
        await self._bus.publish(reply, encode(answer))

    async def _find_answer(self, sender: str, request: StartRequest) -> StartReply:
        spec = self._find_spec(sender)
        if spec is None:
            return StartReply(fault="no pod of this version is to run")
        if POD_ID.fault(request.pod) or not _is_of(request.pod, spec):
            return StartReply(fault=f"{request.pod!r} is not the name of a pod of this version")
        part, size = await self._bundles.read(spec.hash, request.offset, CHUNK_BYTES)
        login = None
        if request.offset == 0:
            _warn_of_other_version(request, spec)
            login = self._logins.log_in(msgspec.structs.replace(spec, id=request.pod))
        return StartReply(login=login, part=part, size_bytes=size)


def _warn_of_other_version(request: StartRequest, spec: PodSpec) -> None:
    # An upgrade of the platform does not change an image that a component names.
    if spec.runtime.image and request.version != PLATFORM_VERSION:
        logger.warning(
            "pod %s has version %s of the platform, and this is %s: build image %s anew",
            *(request.pod, request.version or "unknown", PLATFORM_VERSION, spec.runtime.image),
        )


def _is_of(pod: str, spec: PodSpec) -> bool:
    return pod.startswith(f"{workload_name(spec.version)}-")


@contextlib.asynccontextmanager
async def serve_starts(
    bus: Bus, find_spec: FindSpec, logins: Logins, bundles: BundleFiles
) -> AsyncIterator[None]:
    """Answer the pods that start, until the context ends."""
    server = StartServer(bus, find_spec, logins, bundles)
    subscription = await bus.serve_fast_path(subjects.STARTS, server.accept, subjects.PODS_QUEUE)
    try:
        yield
    finally:
        await bus.stop_serving(subscription)
        await server.close()
