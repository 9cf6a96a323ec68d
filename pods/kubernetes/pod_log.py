"""The output of one pod of the cluster, read by the log API of Kubernetes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from http import HTTPStatus

from pods.kubernetes.api import Api, ApiError
from pods.kubernetes.cluster_pod import ClusterPod
from pods.kubernetes.log_texts import Position, TimedText, TimedTexts, format_time
from pods.kubernetes.manifests import CONTAINER
from pods.log_source import line_bytes

# The pod, its container, or the process before is not there, or not yet.
_MISSING = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}


class PodLog:
    """The log of one pod for one reader, and how far it has been read.

    Args:
        api: The API.
        pods: Path of the pods.
        pod: The pod.

    Attributes:
        pod: Its latest state.
        is_gone: Whether it is gone from the cluster.
        has_tail: Whether ``tail`` has succeeded; a pod that is new has no tail to read.
    """

    def __init__(self, api: Api, pods: str, pod: ClusterPod) -> None:
        self._api = api
        self._path = f"{pods}/{pod.metadata.name}/log"
        self._position = Position()
        self._restarts = 0
        self._changed = asyncio.Event()
        self.pod = pod
        self.is_gone = False
        self.has_tail = False

    def follow(self, pod: ClusterPod) -> None:
        """Take over a change of the pod."""
        self.pod = pod
        self._changed.set()

    def lose(self) -> None:
        """Take over that the pod is gone."""
        self.is_gone = True
        self._changed.set()

    async def wait_running(self) -> bool:
        """Return True once its container runs, False if the pod is gone before."""
        while not self.is_gone:
            if self.pod.is_running:
                return True
            self._changed.clear()
            await self._changed.wait()
        return False

    async def tail(
        self, count: int, since_s: float, wanted: Callable[[TimedText], bool], max_bytes: int
    ) -> list[TimedText]:
        """Return the last lines, also those of the process before the latest restart.

        Args:
            count: How many lines to read.
            since_s: Unix time; older lines are left out, to the second.
            wanted: Returns whether a line is to be returned.
            max_bytes: About how many bytes to keep; the oldest lines are left out.

        Raises:
            ApiError: They cannot be read.
        """
        kept = _Kept(wanted, max_bytes)
        self._position = Position()
        self._restarts = self.pod.restarts
        if self.pod.has_started:
            # The latest line tells where to go on, even if no line is to be shown.
            options = {"tailLines": str(max(count, 1))}
            if since_s:
                options["sinceTime"] = format_time(since_s)
            current = await self._read_tail(options, kept)
            if self._restarts and current < count:
                earlier = _Kept(wanted, max_bytes)
                options["tailLines"] = str(count - current)
                await self._read_tail({**options, "previous": "true"}, earlier)
                kept.prepend(earlier)
            if not self._position.at_ns and since_s:
                self._position.at_ns = int(since_s) * 10**9
        self.has_tail = True
        return list(kept.texts)

    async def _read_tail(self, options: dict[str, str], kept: _Kept) -> int:
        """Read the end of a log; return how many lines it has."""
        count, is_latest = 0, "previous" not in options
        with _missing_is_empty():
            async with contextlib.aclosing(self._stream(options)) as parts:
                async for texts in parts:
                    for text in texts:
                        if is_latest:
                            self._position.take(text)
                        kept.add(text)
                    count += len(texts)
        return count

    async def new_texts(self) -> AsyncGenerator[list[TimedText], None]:
        """Yield the lines after those that were read, until the container ends.

        If it has been restarted meanwhile, the last lines of the process before come first.

        Raises:
            ApiError: They cannot be read; the next call goes on after the last line.
        """
        restarts = self.pod.restarts
        for options in ({"previous": "true"}, {"follow": "true"}):
            if "previous" in options and restarts <= self._restarts:
                continue
            with _missing_is_empty():
                async with contextlib.aclosing(self._unread(options)) as parts:
                    async for texts in parts:
                        yield texts
            self._restarts = restarts

    async def _unread(self, options: dict[str, str]) -> AsyncGenerator[list[TimedText], None]:
        position = self._position
        if position.since:
            options = {**options, "sinceTime": position.since}
        position.begin()
        async with contextlib.aclosing(self._stream(options)) as parts:
            async for texts in parts:
                if unread := [text for text in texts if position.take(text)]:
                    yield unread

    async def _stream(self, options: dict[str, str]) -> AsyncGenerator[list[TimedText], None]:
        parameters = {"container": CONTAINER, "timestamps": "true", **options}
        lines = TimedTexts()
        async with contextlib.aclosing(self._api.stream(self._path, parameters)) as chunks:
            async for chunk in chunks:
                yield lines.feed(chunk)
        yield lines.finish()


class _Kept:
    """The last wanted lines of a log.

    Args:
        wanted: Returns whether a line is wanted.
        max_bytes: About how many bytes to keep.
    """

    def __init__(self, wanted: Callable[[TimedText], bool], max_bytes: int) -> None:
        self._wanted = wanted
        self._max_bytes = max_bytes
        self._bytes = 0
        self.texts: deque[TimedText] = deque()

    def add(self, text: TimedText) -> None:
        """Add a line if it is wanted; the oldest ones make room."""
        if self._wanted(text):
            self.texts.append(text)
            self._bytes += line_bytes(text.text)
            while self._bytes > self._max_bytes and len(self.texts) > 1:
                self._bytes -= line_bytes(self.texts.popleft().text)

    def prepend(self, earlier: _Kept) -> None:
        """Add the lines of an earlier log."""
        while earlier.texts and self._bytes < self._max_bytes:
            text = earlier.texts.pop()
            self.texts.appendleft(text)
            self._bytes += line_bytes(text.text)


@contextlib.contextmanager
def _missing_is_empty() -> Iterator[None]:
    """Take a log that is not there for an empty one."""
    try:
        yield
    except ApiError as error:
        if error.status not in _MISSING:
            raise
