"""Two control processes that a monitor scrapes: one of them returns the metrics, at any time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from examples.demo.platform import credentials
from fox.data_dir import KEY_FILE
from tests.faults.parts import Part, Parts
from tests.support.nats import NatsServer

NAMES = ("control", "control-2")
TOTAL = "kubefox_snapshot_current{"
LEADER, FOLLOWER = "kubefox_metrics_leader{} 1\n", "kubefox_metrics_leader{} 0\n"
WAIT_S = 120.0
_POLL_S = 0.1


class Monitored:
    """Control processes, and their metrics as a monitor reads them."""

    def __init__(self, folder: Path, parts: dict[str, Part]) -> None:
        self._folder = folder
        self.parts = parts

    async def scrape(self, name: str, path: str = "/metrics?leader_only=true") -> str:
        """Return the metrics of one process."""
        headers = await asyncio.to_thread(credentials, self._folder / name)
        url = f"{self.parts[name].url}{path}"
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.get(url) as answer,
        ):
            return await answer.text()

    async def leader(self) -> str:
        """Return the process that leads, as soon as one does; at no time there are two."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = {name: await self.scrape(name) for name in self.parts}
                leaders = [name for name, text in found.items() if LEADER in text]
                for name, text in found.items():
                    assert (TOTAL in text) is (name in leaders)
                    assert name in leaders or text.endswith(FOLLOWER)
                assert len(leaders) <= 1
                if leaders:
                    return leaders[0]
                await asyncio.sleep(_POLL_S)


@pytest.fixture
async def monitored(
    own_secured_nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[Monitored]:
    environ: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(own_secured_nats_server, tmp_path, stack, {"control": environ})
        running = {NAMES[0]: await parts.serve("control")}
        environ["FOX_KEY_FILE"] = str(tmp_path / "control" / KEY_FILE)
        running[NAMES[1]] = await parts.serve("control", NAMES[1])
        yield Monitored(tmp_path, running)
    for log in tmp_path.glob("*.log"):
        assert "forbidden message" not in log.read_text(), log.name


async def test_one_of_two_control_processes_returns_the_metrics_of_all(
    monitored: Monitored,
) -> None:
    leader = await monitored.leader()
    again = await monitored.leader()
    without = [await monitored.scrape(name, "/metrics") for name in NAMES]

    assert again == leader
    assert all(TOTAL in text and "kubefox_metrics_leader" not in text for text in without)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_when_the_process_that_returns_the_metrics_ends_the_other_one_does(
    monitored: Monitored, how: signal.Signals
) -> None:
    first = await monitored.leader()

    await monitored.parts.pop(first).end(how)

    assert await monitored.leader() in monitored.parts
