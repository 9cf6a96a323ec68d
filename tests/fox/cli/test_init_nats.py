"""``fox init-nats``: real servers run on what it writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nats.js.errors import APIError

from broker.nats.access import Access
from broker.nats.bus import Bus, connect
from broker.nats.cluster_start import wait_for_leader
from broker.nats.credentials import credentials_file
from broker.nats.credentials.claims import ALL
from fox.cli.commands.init_nats import TOOL_FILE
from fox.nats_keys import ACCOUNT_KEY_FILE
from tests.fox.cli.conftest import Cli
from tests.support.nats import NatsServer

NAMES = ("nats-1", "nats-2", "nats-3")
POLL_S = 0.05


def addresses() -> list[str]:
    """Return addresses on loopback that no other process of this machine uses."""
    high, low = divmod(os.getpid(), 250)
    return [f"127.{50 + high % 200}.{1 + low}.{number}:4222" for number in (1, 2, 3)]


@pytest.fixture
def folder(fox_alone: Cli, tmp_path: Path) -> Path:
    """The folder that the command has written for a cluster."""
    options = [part for address in addresses() for part in ("--listen", address)]
    fox_alone("init-nats", tmp_path / "nats", *options)
    return tmp_path / "nats"


@pytest.fixture
async def servers(folder: Path) -> AsyncIterator[list[NatsServer]]:
    """The three servers, each on its file."""
    made = [NatsServer(folder, file=folder / f"{name}.conf") for name in NAMES]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in made))
        yield made
    finally:
        for server in made:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGCONT)
        await asyncio.gather(*(asyncio.to_thread(server.kill) for server in made))


@pytest.fixture
async def bus(folder: Path, servers: list[NatsServer]) -> AsyncIterator[Bus]:
    """A connection to two of the servers, with the key of the account."""
    key = await asyncio.to_thread(credentials_file.read, folder / ACCOUNT_KEY_FILE)
    login = Access(",".join(server.url for server in servers[:2]), key).login("test", ALL)
    async with connect(login.url, process_id="test", credentials=login.credentials) as bus:
        await wait_for_leader(bus, "orders")
        yield bus


async def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(POLL_S)


async def make_stream_with_three_copies(bus: Bus) -> None:
    """Return when it is made: once the cluster has found the third server."""
    while True:
        with contextlib.suppress(APIError):
            await bus.jetstream().add_stream(name="orders", subjects=["orders"], num_replicas=3)
            return
        await asyncio.sleep(POLL_S)


async def test_three_servers_are_a_cluster_that_leaves_one_that_hangs(
    bus: Bus, servers: list[NatsServer]
) -> None:
    *others, third = servers
    await make_stream_with_three_copies(bus)

    os.kill(third.pid, signal.SIGSTOP)

    await wait_for(lambda: all("Stale Connection" in "".join(one.log) for one in others))


async def test_a_server_without_the_password_does_not_join(
    folder: Path, servers: list[NatsServer], tmp_path: Path
) -> None:
    text = (folder / "nats-3.conf").read_text()
    foreign = tmp_path / "foreign.conf"
    foreign.write_text(
        re.sub(r"(kubefox-route:)[0-9a-f]+@", r"\1wrong@", text)
        .replace("nats-3", "foreign")
        .replace(servers[2].host, servers[2].host[:-1] + "9")
    )

    with NatsServer(tmp_path, file=foreign) as server:
        await wait_for(lambda: "Authorization Violation" in "".join(server.log))


async def test_a_tool_of_nats_reaches_the_data_of_the_platform(
    folder: Path, bus: Bus, servers: list[NatsServer]
) -> None:
    await make_stream_with_three_copies(bus)
    user = await asyncio.to_thread(credentials_file.read, folder / TOOL_FILE)
    login = Access(servers[2].url, user).login("tool", ALL)

    async with connect(login.url, process_id="tool", credentials=login.credentials) as tool:
        (stream,) = await tool.jetstream().streams_info()

    assert stream.config.name == "orders"


def test_the_files_are_private_and_name_no_seed(folder: Path) -> None:
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name in NAMES:
        file = folder / f"{name}.conf"
        assert not re.search(r"\bS[AUO][A-Z2-7]{56}", file.read_text())


def test_the_next_commands_are_printed(fox_alone: Cli, tmp_path: Path) -> None:
    options = [part for address in addresses() for part in ("--listen", address)]

    printed = fox_alone("init-nats", tmp_path / "nats", *options).stdout

    *servers, control = printed.splitlines()
    assert servers == [f"nats-server --config {tmp_path}/nats/{name}.conf" for name in NAMES]
    assert f"--nats-url {','.join(f'nats://{address}' for address in addresses())} " in control


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        (["host"], "'host' of a NATS server is not valid: expected HOST:PORT"),
        (["host:70000"], "is not valid: expected HOST:PORT"),
        (["a:4222", "b:4222"], "name one server, or 3 or more"),
        (["a:4222", "b:4222", "0.0.0.0:4222"], "name its host or its IP address"),
        (["a:4222", "b:4222", "c:64000"], "port 64000 of c:64000 is not valid for a cluster"),
        (["a:4222", "b:4222", "a:4222"], "an address is named twice"),
    ],
)
def test_addresses_that_make_no_cluster_are_refused(
    fox_alone: Cli, tmp_path: Path, listen: list[str], problem: str
) -> None:
    options = [part for address in listen for part in ("--listen", address)]

    result = fox_alone("init-nats", tmp_path / "nats", *options, code=1)

    assert problem in result.output
    assert not (tmp_path / "nats").exists()


@pytest.mark.parametrize("count", [1, 3])
def test_the_data_lies_in_the_named_folder_of_each_host(
    fox_alone: Cli, tmp_path: Path, count: int
) -> None:
    options = [part for address in addresses()[:count] for part in ("--listen", address)]

    fox_alone("init-nats", tmp_path / "nats", "--store-dir", "/var/lib/nats", *options)

    texts = [file.read_text() for file in (tmp_path / "nats").glob("*.conf")]
    assert len(texts) == count
    assert all('store_dir: "/var/lib/nats"' in text for text in texts)
