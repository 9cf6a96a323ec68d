"""A cluster of real nats-servers with JetStream, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from broker.nats.access import Access
from broker.nats.bus import Bus, connect
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.permissions import Role, for_platform
from fox.nats_config import Address, Member, cluster_config
from fox.nats_keys import ACCOUNT_KEY_FILE, NatsKeys
from kubefox.errors import FoxError
from tests.support.nats import NatsServer
from tests.support.network import Host
from tests.support.ports import HOST, free_ports

_LOOK_AGAIN_S = 0.05
_ROUTE_PORT = 6222


class NatsCluster:
    """The servers of a cluster; made by ``nats_cluster``.

    Args:
        folder: For the folders of its servers.
        size: Number of its servers.
        keys: Keys of its operator and account; without them it lets anybody in.
        hosts: Where each server runs; without them, all are on loopback.

    Attributes:
        servers: In a fixed order; each may be killed and started again.
    """

    def __init__(
        self, folder: Path, size: int, keys: NatsKeys | None = None, hosts: Sequence[Host] = ()
    ) -> None:
        self._folder, self._keys = folder, keys
        # Routes name ports before the servers choose them.
        routes = (
            [Address(host.address, _ROUTE_PORT) for host in hosts]
            if hosts
            else [Address(HOST, port) for port in free_ports(size)]
        )
        members = [Member(f"server-{number}", route) for number, route in enumerate(routes)]
        self.servers = [
            self._make_server(member, members, host)
            for member, host in itertools.zip_longest(members, hosts)
        ]

    def _make_server(
        self, member: Member, members: Sequence[Member], host: Host | None
    ) -> NatsServer:
        own = self._folder / member.name
        own.mkdir()
        config = cluster_config(member, members, "password")
        if host is None:
            return NatsServer(own, config, self._keys)
        return NatsServer(own, config, self._keys, host=host.address, launcher=host.launcher)

    @property
    def url(self) -> str:
        """URL of all servers, for clients."""
        return ",".join(server.url for server in self.servers if server.is_running)

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which a process of the platform gets in."""
        if self._keys is None:
            return {"FOX_NATS_URL": self.url, "FOX_INSECURE_NATS": "true"}
        return {
            "FOX_NATS_URL": self.url,
            "FOX_NATS_CREDENTIALS": str(self._folder / ACCOUNT_KEY_FILE),
        }

    def connect(
        self, process_id: str, role: Role | None = None
    ) -> AbstractAsyncContextManager[Bus]:
        """Return a connection that may do what a role may; everything without one."""
        key = None if self._keys is None else self._keys.account_key
        rights = ALL if role is None else for_platform([role], process_id)
        login = Access(self.url, key).login(process_id, rights)
        return connect(login.url, process_id=process_id, credentials=login.credentials)

    def named(self, name: str) -> NatsServer:
        """Return the server of a name, as NATS reports it."""
        return self.servers[int(name.rpartition("-")[2])]

    def at(self, address: str) -> NatsServer:
        """Return the server of an address, as a connection reports it."""
        return next(server for server in self.servers if server.address == address)

    async def start(self, *numbers: int) -> None:
        """Start servers at once, and return when they accept clients."""
        await asyncio.gather(*(asyncio.to_thread(self.servers[n].start) for n in numbers))

    async def wait_formed(self) -> None:
        """Return when a stream can be made that has a copy on each running server."""
        count = sum(server.is_running for server in self.servers)
        async with self.connect("formed") as bus:
            while not await _can_keep_copies(bus, count):
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def stop_all(self) -> None:
        """Stop all servers that run, stopped ones included."""
        for server in self.servers:
            if server.is_running:
                os.kill(server.pid, signal.SIGCONT)
        await asyncio.gather(*(asyncio.to_thread(server.kill) for server in self.servers))


@contextlib.asynccontextmanager
async def nats_cluster(
    folder: Path,
    size: int = 3,
    running: int = 3,
    keys: NatsKeys | None = None,
    hosts: Sequence[Host] = (),
) -> AsyncIterator[NatsCluster]:
    """Run the first servers of a cluster of ``size``, until the context ends."""
    cluster = NatsCluster(folder, size, keys, hosts)
    try:
        await cluster.start(*range(running))
        await cluster.wait_formed()
        yield cluster
    finally:
        await cluster.stop_all()


async def stream_info(bus: Bus, stream: str) -> dict[str, Any]:
    """Return what NATS says of a stream, as plain JSON."""
    answer = await bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", 5)
    return msgspec.json.decode(answer, type=dict[str, Any])


async def _can_keep_copies(bus: Bus, count: int) -> bool:
    config = {"name": "formed", "subjects": ["formed"], "num_replicas": count}
    return await _is_done(bus, "CREATE.formed", config) and await _is_done(bus, "DELETE.formed", {})


async def _is_done(bus: Bus, action: str, content: object) -> bool:
    try:
        answer = await bus.request(f"$JS.API.STREAM.{action}", msgspec.json.encode(content), 2)
    except FoxError:
        return False
    return "error" not in msgspec.json.decode(answer, type=dict[str, Any])
