"""A stand-in for kube-proxy: an address of a Service that leads to its ready pods.

The addresses of the lab's pods are loopback addresses, which EndpointSlices may not contain. So
this follows the pods of the Service itself. As with kube-proxy, a new connection goes to a pod that
is ready and not being deleted, and an open one stays where it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from pods.kubernetes.api import open_api
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.follow import Following
from tests.kubernetes.node_agent.node import NodePod

_CHUNK_BYTES = 65_536


class ServiceProxy:
    """Made by ``open_service_proxy``.

    Args:
        port: Port of the pods.

    Attributes:
        url: Of the Service.
    """

    def __init__(self, port: int) -> None:
        self.url = ""
        self._port = port
        self._ready: dict[str, str] = {}
        self._numbers = itertools.count()
        self._changed = asyncio.Event()

    @property
    def addresses(self) -> set[str]:
        """Addresses of the pods that get new connections."""
        return set(self._ready.values())

    def on_pod(self, pod: NodePod) -> None:
        """Take over a new or changed pod."""
        is_ready = any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod.status.get("conditions", ())
        )
        if is_ready and pod.metadata.deletion_timestamp is None:
            self._ready[pod.metadata.uid] = pod.status["podIP"]
        else:
            self._ready.pop(pod.metadata.uid, None)
        self._changed.set()

    def on_deleted(self, pod: NodePod) -> None:
        """Take over that a pod is gone."""
        self._ready.pop(pod.metadata.uid, None)

    async def wait_pods(self, count: int) -> None:
        """Return when at least so many pods get connections."""
        while len(self._ready) < count:
            self._changed.clear()
            await self._changed.wait()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client with one of the pods, one after another; without any, hang up."""
        with contextlib.suppress(OSError), contextlib.closing(writer):
            pod_reader, pod_writer = await self._connect()
            with contextlib.closing(pod_writer):
                ways = (_copy(reader, pod_writer), _copy(pod_reader, writer))
                await asyncio.gather(*ways)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the next pod that listens.

        On a busy machine, a pod may have ended before this has learned that it is being deleted.

        Raises:
            OSError: No pod listens.
        """
        addresses = list(self._ready.values())
        first = next(self._numbers) % max(len(addresses), 1)
        for address in (*addresses[first:], *addresses[:first]):
            with contextlib.suppress(ConnectionRefusedError):
                return await asyncio.open_connection(address, self._port)
        raise ConnectionRefusedError("no pod of the Service listens")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


@contextlib.asynccontextmanager
async def open_service_proxy(
    cluster: Cluster, namespace: str, selector: str, port: int
) -> AsyncIterator[ServiceProxy]:
    """Serve an address on loopback until the context ends.

    Args:
        cluster: The API.
        namespace: Of the pods.
        selector: Of the Service.
        port: Of the pods.
    """
    proxy = ServiceProxy(port)
    async with open_api(cluster) as api, contextlib.AsyncExitStack() as stack:
        path = f"/api/v1/namespaces/{namespace}/pods"
        selectors = {"labelSelector": selector}
        pods = Following(api, path, selectors, NodePod, proxy.on_pod, proxy.on_deleted)
        following = asyncio.create_task(pods.run())
        stack.callback(following.cancel)
        server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
        stack.callback(server.close)
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
