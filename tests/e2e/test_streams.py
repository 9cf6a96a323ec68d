"""Large bodies through real pods: their memory, and the failure when a pod dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from examples.demo.platform import Platform, wait_for
from tests.e2e import stream_app
from tests.e2e.processes import PROC

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 64_000_000
# Memory besides the body: windows, chunks, socket buffers, and memory that malloc keeps. It depends
# on the machine; a process that gathers a body needs all of its size.
MOST_BYTES = SIZE // 2
SOON_S = 60
# Long before the deadline of a request.
AT_ONCE_S = 15
SELECTED = {"kf-dep": "streams", "kf-ve": "here"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("streams")
    stream_app.build(folder / "app")
    async with Platform(folder / "data") as platform:
        await platform.fox("apply", "-f", folder / "app" / "environments.yaml")
        await platform.fox("deploy", "streams", "--dirty", "--wait", cwd=folder / "app")
        yield platform


async def processes(platform: Platform) -> list[int]:
    """Return the process ids of the platform and its pods."""
    return [platform.process.pid, *(pod["pid"] for pod in await platform.pods())]


def reset_peak(pid: int) -> int:
    """Reset the peak memory of a process, and return its memory now."""
    (PROC / str(pid) / "clear_refs").write_text("5")
    return memory(pid, "VmRSS")


def memory(pid: int, name: str) -> int:
    """Return a figure of a process's memory in bytes."""
    status = (PROC / str(pid) / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


async def parts(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100_000):
        yield bytes(100_000)


async def download(platform: Platform, path: str, **query: str) -> int:
    """Return the number of received bytes."""
    async with aiohttp.request(
        "GET", f"{platform.http_url}{path}", params={**SELECTED, **query}
    ) as answer:
        assert answer.status == 200
        return sum([len(chunk) async for chunk in answer.content.iter_any()])


async def upload(platform: Platform, path: str) -> int:
    """Return the number of bytes that the app reports as received."""
    async with aiohttp.request(
        "POST", f"{platform.http_url}{path}", params=SELECTED, data=parts(SIZE)
    ) as answer:
        assert answer.status == 200
        return int(await answer.text())


async def test_64_mb_up_and_down_and_through_two_components_take_little_memory(
    platform: Platform,
) -> None:
    assert await download(platform, "/bytes/1000000") == 1_000_000
    assert await download(platform, "/via", size="1000000") == 1_000_000
    before = {pid: reset_peak(pid) for pid in await processes(platform)}

    assert await download(platform, f"/bytes/{SIZE}") == SIZE
    assert await upload(platform, "/count") == SIZE
    assert await download(platform, "/via", size=str(SIZE)) == SIZE
    assert await upload(platform, "/via") == SIZE

    grown = {pid: memory(pid, "VmHWM") - was for pid, was in before.items()}
    assert len(grown) == 3
    assert max(grown.values()) < MOST_BYTES


async def test_a_slow_reader_takes_little_memory(platform: Platform) -> None:
    before = {pid: reset_peak(pid) for pid in await processes(platform)}

    url = f"{platform.http_url}/bytes/{SIZE}"
    async with aiohttp.request("GET", url, params=SELECTED) as answer:
        await answer.content.readany()
        for _ in range(10):
            assert await download(platform, "/bytes/1000000") == 1_000_000
        grown = {pid: memory(pid, "VmHWM") - was for pid, was in before.items()}
        rest = sum([len(chunk) async for chunk in answer.content.iter_any()])

    assert rest > SIZE // 2
    assert max(grown.values()) < MOST_BYTES


async def test_after_kill_9_in_mid_stream_the_client_is_cut_off_at_once(
    platform: Platform, tmp_path: Path
) -> None:
    pod = next(pod for pod in await platform.pods() if pod["component"] == "store")
    url, query = f"{platform.http_url}/slow", {**SELECTED, "signals": str(tmp_path)}
    async with aiohttp.request("GET", url, params=query) as answer:
        assert await answer.content.readany() == b"begun"

        os.kill(pod["pid"], signal.SIGKILL)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(AT_ONCE_S):
                await answer.content.read()

    event_id = answer.headers["kubefox-event-id"]
    assert f"the response to event {event_id} was cut off" in platform.log.read_text()

    async def serves_again() -> bool:
        async with aiohttp.request(
            "GET", f"{platform.http_url}/bytes/100000", params=SELECTED
        ) as again:
            return again.status == 200

    await wait_for(serves_again, SOON_S)


async def test_metrics_and_traces_count_the_bytes_of_streams(platform: Platform) -> None:
    url = f"{platform.http_url}/bytes/700000"
    async with aiohttp.request("GET", url, params={**SELECTED, "kf-sample": "true"}) as answer:
        assert len(await answer.read()) == 700_000
        trace = answer.headers["kubefox-trace-id"]

    async def is_traced() -> bool:
        listed = await platform.run("traces", trace, "-o", "json")
        return listed.out.count('"kubefox.stream.bytes_out": 700000') == 2

    await wait_for(is_traced, SOON_S)
    url = f"{platform.control_url}/metrics"

    async def are_counted() -> bool:
        async with aiohttp.request("GET", url, headers=platform.credentials) as metrics:
            lines = (await metrics.text()).splitlines()
        counted = [line for line in lines if not line.endswith(" 0")]
        return all(
            any(
                line.startswith(f"kubefox_stream_bytes_{way}_total{{") and role in line
                for line in counted
            )
            for way in ("in", "out")
            for role in ('role="genesis"', 'role="component"')
        )

    # The figures of a process that answers too late are missing.
    await wait_for(are_counted, SOON_S)


# This test is the last one: it stops the platform.
async def test_ctrl_c_waits_for_streams(platform: Platform, tmp_path: Path) -> None:
    url, query = f"{platform.http_url}/slow", {**SELECTED, "signals": str(tmp_path)}
    async with aiohttp.request("GET", url, params=query) as answer:
        assert await answer.content.readany() == b"begun"

        platform.process.send_signal(signal.SIGINT)

        async def refuses() -> bool:
            try:
                async with aiohttp.request("GET", url, params=SELECTED) as other:
                    return other.status == 503
            except aiohttp.ClientError:
                return True

        await wait_for(refuses, SOON_S)
        (tmp_path / "end").touch()
        assert await answer.content.read() == b"done"

    assert await platform.process.wait() == 0
