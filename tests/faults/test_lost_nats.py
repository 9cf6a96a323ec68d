"""NATS comes back with an empty disk: that is recognised, and a copy of its files cures it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fox.nats_keys import open_nats_keys
from tests.e2e.documents import blocks, page, run_script
from tests.faults.parts import Parts, open_parts
from tests.faults.two_component_app import WEB_PATH
from tests.support.nats import NatsServer

pytestmark = pytest.mark.faults

READY_PATH = "/.well-known/kubefox/ready"
KINDS = ("deployments", "releases", "environments", "virtual-environments")
POLL_S = 0.05
SOON_S = 60


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server with its data where ``fox init-nats nats-server`` puts them."""
    folder = tmp_path / "nats-server" / "data"
    with NatsServer(folder, keys=await asyncio.to_thread(open_nats_keys, folder)) as server:
        yield server


@pytest.fixture
async def parts(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Parts]:
    """A platform in parts, with an app that is released."""
    async with open_parts(nats, tmp_path, runners=1) as parts:
        environments = tmp_path / "app" / "environments.yaml"
        text = await asyncio.to_thread(environments.read_text)
        testing = text.replace("t: base}", "t: base, releasePolicy: {type: Testing}}")
        await asyncio.to_thread(environments.write_text, testing)
        await parts.fox("apply", "-f", environments)
        await parts.fox("release", "app", "--virtual-env", "here")
        yield parts


async def status_of(parts: Parts, path: str) -> int:
    async with aiohttp.request("GET", parts.http.url + path) as response:
        return response.status


async def wait_status(parts: Parts, path: str, status: int) -> None:
    async with asyncio.timeout(SOON_S):
        while await status_of(parts, path) != status:
            await asyncio.sleep(POLL_S)


async def records(parts: Parts) -> list[str]:
    """Return all that the commands list of each kind of record."""
    return [await parts.fox("get", kind, "-o", "json") for kind in KINDS]


async def wait_logged(log: Path, text: str) -> None:
    async with asyncio.timeout(SOON_S):
        while text not in await asyncio.to_thread(log.read_text):
            await asyncio.sleep(POLL_S)


async def stopped(nats: NatsServer, script: str, folder: Path) -> None:
    """Run commands while the server is stopped."""
    await asyncio.to_thread(nats.stop)
    await run_script(script, cwd=folder)
    await asyncio.to_thread(nats.start)


async def test_a_copy_of_its_files_brings_everything_back(
    nats: NatsServer, parts: Parts, tmp_path: Path
) -> None:
    _, _, back_up, restore = blocks(page("operations/backup"), "sh")
    before = await records(parts)
    await stopped(nats, back_up, tmp_path)
    await wait_status(parts, READY_PATH, 200)

    await stopped(nats, "rm -r nats-server/data/jetstream", tmp_path)
    await wait_logged(tmp_path / "http.log", "NATS has lost KV_kubefox")
    assert await status_of(parts, READY_PATH) == 503
    # Requests are answered as before, once all parts have their connections again.
    await wait_status(parts, WEB_PATH, 200)
    await parts.control.end(signal.SIGTERM)
    errors = [await parts.refuse("control")]
    (tmp_path / "control" / "records-in-nats").unlink()
    errors.append(await parts.refuse("control"))
    await stopped(nats, restore, tmp_path)
    parts.control = await parts.serve("control")

    for error, reason in zip(errors, ("data folder", "processes of a platform"), strict=True):
        assert f"error: NATS has no records, and {reason}" in error
        assert "docs/operations/backup.md" in error
    await wait_status(parts, READY_PATH, 200)
    await wait_status(parts, WEB_PATH, 200)
    assert len(await parts.wait_ready(2)) == 2
    assert await records(parts) == before
