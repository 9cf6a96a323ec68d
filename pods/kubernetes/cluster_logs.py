"""The output of the pods of a cluster, read when someone asks for it.

The nodes keep it, so nothing is read meanwhile. A reader gets the latest lines of each pod in order
of time. One that follows then has a stream for each pod that runs, also for those that come later.
It reads on only as fast as its client. After a fault it goes on with the line after the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from itertools import chain, islice

import msgspec

from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine
from pods.kubernetes.api import Api, ApiError
from pods.kubernetes.cluster_pod import ClusterPod
from pods.kubernetes.log_texts import TimedText
from pods.kubernetes.manifests import version_of
from pods.kubernetes.pod_log import PodLog
from pods.log_source import DRAIN_BYTES, line_bytes
from pods.logs import LINES_PER_POD, MAX_PODS

logger = logging.getLogger(__name__)

MAX_STREAMS = 50
"""How many logs are followed at once, by all readers together."""

LIST_S = 10.0
"""How long a reader waits until the pods are known."""

TAILS_AT_ONCE = 8
TAIL_BYTES = 8 << 20
"""About how many bytes of latest lines a reader begins with."""

WAITING_BYTES = 1 << 20
"""About how many bytes of new lines wait for a reader; then its streams wait."""

MIN_RETRY_S = 0.2
MAX_RETRY_S = 5.0

_NO_TEXT = TimedText(0, "")
_GENERAL = LogLine(pod="", component="", hash="", line="")

IdOf = Callable[[ClusterPod], str]
"""Returns the id by which the platform knows a pod of the cluster."""


class ClusterLogs:
    """The output of the pods of a namespace; a ``pods.log_source.LogSource``.

    Args:
        api: The API.
        path: Of the pods.
        listed: Set once all pods are known: one that comes later is new.
        id_of: Tells the ids of pods.

    Attributes:
        open_streams: How many logs are followed now.
        tails: Held while the latest lines of a pod are read.
    """

    def __init__(self, api: Api, path: str, listed: asyncio.Event, id_of: IdOf) -> None:
        self._api = api
        self._path = path
        self._id_of = id_of
        self._pods: dict[str, ClusterPod] = {}
        self._listed = listed
        self._readers: dict[ClusterLogReader, asyncio.Task[None]] = {}
        self._streams = asyncio.Semaphore(MAX_STREAMS)
        self.open_streams = 0
        self.tails = asyncio.Semaphore(TAILS_AT_ONCE)

    def open_reader(self, query: LogQuery) -> ClusterLogReader:
        """Return a reader that begins to read; see ``LogSource``."""
        reader = ClusterLogReader(self, query)
        task = self._readers[reader] = asyncio.create_task(reader.run())
        task.add_done_callback(partial(self._forget, reader))
        return reader

    def close_reader(self, reader: ClusterLogReader) -> None:
        """End the streams of a reader."""
        if task := self._readers.get(reader):
            task.cancel()

    async def close(self) -> None:
        """End all readers."""
        tasks = tuple(self._readers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_pod(self, pod: ClusterPod) -> None:
        """Take over a new or changed pod, or one that has got another id."""
        is_new = self._listed.is_set() and pod.metadata.uid not in self._pods
        self._pods[pod.metadata.uid] = pod
        for reader in self._readers:
            reader.on_pod(pod, is_new=is_new)

    def on_deleted(self, pod: ClusterPod) -> None:
        """Take over that a pod is gone."""
        self._pods.pop(pod.metadata.uid, None)
        for reader in self._readers:
            reader.on_deleted(pod)

    async def wait_pods(self) -> tuple[ClusterPod, ...]:
        """Return all pods.

        Raises:
            ApiError: They are not known within ``LIST_S``.
        """
        try:
            async with asyncio.timeout(LIST_S):
                await self._listed.wait()
        except TimeoutError as error:
            raise ApiError(0, "the pods are not listed yet") from error
        return tuple(self._pods.values())

    def log_of(self, pod: ClusterPod) -> PodLog:
        """Return the log of a pod, for one reader."""
        return PodLog(self._api, self._path, pod)

    def line(self, pod: ClusterPod, text: TimedText) -> LogLine:
        """Return a line of a pod's log."""
        app, component, digest = version_of(pod.metadata.labels)
        return LogLine(
            pod=self._id_of(pod),
            app=app,
            component=component,
            hash=digest,
            line=text.text,
            at_s=text.at_ns / 10**9,
        )

    @contextlib.asynccontextmanager
    async def stream(self, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Count one log as followed while the context lasts.

        Args:
            on_wait: Called if the context has to wait, because too many are followed.
        """
        if self._streams.locked():
            on_wait()
        async with self._streams:
            self.open_streams += 1
            try:
                yield
            finally:
                self.open_streams -= 1

    def _forget(self, reader: ClusterLogReader, _task: asyncio.Task[None]) -> None:
        del self._readers[reader]


class ClusterLogReader:
    """The lines that one client reads; a ``pods.log_source.LineReader``.

    Args:
        logs: Has opened it.
        query: Selects lines.
    """

    def __init__(self, logs: ClusterLogs, query: LogQuery) -> None:
        self._logs = logs
        self._query = query
        self._logs_of_pods: dict[str, PodLog] = {}
        self._group: asyncio.TaskGroup | None = None
        self._lines: deque[LogLine] = deque()
        self._bytes = 0
        self._tail_bytes = TAIL_BYTES
        # The last notice about each pod, by its uid; that about all of them has an empty one.
        self._told: dict[str, str] = {}
        self._has_ended = False
        self._offered = asyncio.Event()
        self._drained = asyncio.Event()

    @property
    def is_done(self) -> bool:
        """Whether no line waits, and none will come."""
        return self._has_ended and not self._lines

    def drain(self, max_bytes: int = DRAIN_BYTES) -> tuple[LogLine, ...]:
        """Return and remove the next lines, of about ``max_bytes`` together."""
        drained: list[LogLine] = []
        size = 0
        while self._lines and size < max_bytes:
            drained.append(self._lines.popleft())
            size += line_bytes(drained[-1].line)
        self._bytes -= size
        self._drained.set()
        if not self._lines and not self._has_ended:
            self._offered.clear()
        return tuple(drained)

    async def wait(self) -> None:
        """Return when a line waits, or none will come."""
        await self._offered.wait()

    def close(self) -> None:
        """Read no more."""
        self._logs.close_reader(self)

    async def run(self) -> None:
        """Read until the lines end, or until cancelled."""
        try:
            await self._read()
        except Exception:
            logger.exception("the output of pods cannot be read")
            self._tell("the output of pods cannot be read: see the log of the pod runner")
        finally:
            self._has_ended = True
            self._offered.set()

    def on_pod(self, pod: ClusterPod, *, is_new: bool) -> None:
        """Take over a new or changed pod; a new one is followed from its first line on."""
        if log := self._logs_of_pods.get(pod.metadata.uid):
            log.follow(pod)
        elif self._group is not None and self._is_wanted(pod):
            log = self._add(pod)
            log.has_tail = is_new
            self._group.create_task(self._follow(log))

    def on_deleted(self, pod: ClusterPod) -> None:
        """Take over that a pod is gone: its last lines may still come."""
        if log := self._logs_of_pods.get(pod.metadata.uid):
            log.lose()

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as group:
            pods = await self._wait_pods()
            logs = [self._add(pod) for pod in filter(self._is_wanted, pods)]
            if self._query.follow:
                await self._follow_all(logs, group)
                return
            if len(logs) > MAX_PODS:
                few = f"{MAX_PODS} of {len(logs)} pods"
                self._tell(f"the output of {few} is read: name a component or a pod")
            await self._read_tails(logs[:MAX_PODS])

    async def _follow_all(self, logs: list[PodLog], group: asyncio.TaskGroup) -> None:
        """Follow these logs, and those of pods that come later, until cancelled."""
        self._group = group
        try:
            await self._read_tails(logs[:MAX_PODS])
            for log in logs:
                group.create_task(self._follow(log))
            await asyncio.Event().wait()
        finally:
            # A group that ends takes no more tasks.
            self._group = None

    async def _wait_pods(self) -> tuple[ClusterPod, ...]:
        """Return the pods; one that follows waits for them until they are known."""
        while True:
            try:
                return await self._logs.wait_pods()
            except ApiError as error:
                self._tell_fault(None, error)
                if not self._query.follow:
                    return ()

    def _is_wanted(self, pod: ClusterPod) -> bool:
        return self._query.matches_pod(self._logs.line(pod, _NO_TEXT))

    def _add(self, pod: ClusterPod) -> PodLog:
        log = self._logs_of_pods[pod.metadata.uid] = self._logs.log_of(pod)
        return log

    async def _read_tails(self, logs: list[PodLog]) -> None:
        # A tail that is read later, such as one after a fault, gets no more room.
        self._tail_bytes = TAIL_BYTES // max(len(logs), 1)
        tails = await asyncio.gather(*map(self._tail, logs))
        for line in sorted(chain.from_iterable(filter(None, tails)), key=_time):
            self._offer(line)

    async def _tail(self, log: PodLog) -> list[LogLine] | None:
        """Return the latest wanted lines of a pod; tell why they cannot be read, if so."""
        query = self._query
        # As on one machine: lines of a deployment are looked for in the latest ones of the pod.
        selects = query.deployment or query.virtual_environment
        count = max(query.tail, LINES_PER_POD) if selects else query.tail
        wanted = partial(self._matches, log)
        try:
            async with self._logs.tails:
                texts = await log.tail(count, query.since_s, wanted, self._tail_bytes)
        except ApiError as error:
            self._tell_fault(log, error)
            return None
        latest = islice(texts, max(len(texts) - query.tail, 0), None)
        return [self._logs.line(log.pod, text) for text in latest]

    async def _follow(self, log: PodLog) -> None:
        """Offer the new lines of a pod until it is gone."""
        retry_s = MIN_RETRY_S
        while await log.wait_running():
            try:
                async with (
                    self._logs.stream(self._tell_waiting),
                    contextlib.aclosing(self._new_lines(log)) as parts,
                ):
                    async for lines in parts:
                        retry_s = MIN_RETRY_S
                        self._forget_fault(log)
                        await self._put(lines)
            except ApiError as error:
                self._tell_fault(log, error)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)
        self._logs_of_pods.pop(log.pod.metadata.uid, None)

    async def _new_lines(self, log: PodLog) -> AsyncGenerator[list[LogLine], None]:
        if not log.has_tail:
            tail = await self._tail(log)
            if tail is None:
                return
            yield tail
        async with contextlib.aclosing(log.new_texts()) as parts:
            async for texts in parts:
                lines = (self._logs.line(log.pod, text) for text in texts)
                yield list(filter(self._query.matches, lines))

    def _matches(self, log: PodLog, text: TimedText) -> bool:
        return self._query.matches(self._logs.line(log.pod, text))

    async def _put(self, lines: list[LogLine]) -> None:
        """Offer lines as soon as there is room for them."""
        for line in lines:
            while self._bytes >= WAITING_BYTES:
                self._drained.clear()
                await self._drained.wait()
            self._offer(line)

    def _offer(self, line: LogLine) -> None:
        self._lines.append(line)
        self._bytes += line_bytes(line.line)
        self._offered.set()

    def _tell_fault(self, log: PodLog | None, error: ApiError) -> None:
        """Tell why a log cannot be read; if Kubernetes is away, once for all of them."""
        again = ", retrying" if self._query.follow else ""
        if log is None or not error.status:
            self._tell(f"the output of pods cannot be read{again}: {error}")
        else:
            pod = self._logs.line(log.pod, _NO_TEXT).pod
            self._tell(f"the output of pod {pod} cannot be read{again}: {error}", log)

    def _forget_fault(self, log: PodLog) -> None:
        """Note that a log can be read: its next fault is told again."""
        self._told.pop("", None)
        self._told.pop(log.pod.metadata.uid, None)

    def _tell_waiting(self) -> None:
        most = f"{MAX_STREAMS} pods are followed at once, and others later"
        self._tell(f"{most}: name a component or a pod")

    def _tell(self, text: str, log: PodLog | None = None) -> None:
        """Offer a notice about a log or about all of them, unless it was the last one."""
        about = "" if log is None else log.pod.metadata.uid
        if self._told.get(about) != text:
            self._told[about] = text
            line = _GENERAL if log is None else self._logs.line(log.pod, _NO_TEXT)
            self._offer(msgspec.structs.replace(line, line=text, is_notice=True))


def _time(line: LogLine) -> float:
    return line.at_s
