"""Emitted events harm no others: poison, floods, handlers without end, versions without pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from examples.demo.platform import Platform, wait_for
from tests.faults import emitting_app

pytestmark = pytest.mark.faults

SOON_S = 60
INNOCENT = [f"innocent-{number}" for number in range(50)]


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A platform whose pauses between attempts are short."""
    monkeypatch.setenv("FOX_EMIT_RETRY_S", "0.05")
    monkeypatch.setenv("FOX_EMIT_ATTEMPTS", "3")
    (tmp_path / "signs").mkdir()
    async with Platform(tmp_path / "data") as platform:
        yield platform


async def wait_settled(
    platform: Platform, signs: Path, done: list[str], *, dead: int = 0
) -> list[str]:
    """Wait until these jobs are done and ``dead`` others are dead letters; return their codes."""
    codes: list[str] = []

    async def is_settled() -> bool:
        codes[:] = await dead_letter_codes(platform)
        return len(codes) == dead and set(emitting_app.done(signs)) == set(done)

    await wait_for(is_settled, SOON_S)
    return codes


async def dead_letter_codes(platform: Platform) -> list[str]:
    """Return the code of each dead letter."""
    url = f"{platform.control_url}/v1/dead-letters"
    async with aiohttp.request("GET", url, headers=platform.credentials) as answer:
        return [letter["code"] for letter in (await answer.json())["items"]]


async def test_an_event_that_kills_its_pod_is_the_only_dead_letter_among_50_others(
    platform: Platform, tmp_path: Path
) -> None:
    signs = tmp_path / "signs"
    await emitting_app.deploy(platform, tmp_path / "app")
    names = [*INNOCENT[:25], "poison", *INNOCENT[25:]]

    await emitting_app.emit(platform, names, signs, sleep_s=0.05)
    codes = await wait_settled(platform, signs, INNOCENT, dead=1)

    assert codes == ["component_gone"]
    began = Counter(emitting_app.begun(signs))
    assert began["poison"] == 3
    # The pod died once while others ran; after that, the poison was alone in it.
    assert max(began[name] for name in INNOCENT) <= 2


async def test_a_handler_in_a_thread_over_its_limit_never_runs_twice_at_once(
    platform: Platform, tmp_path: Path
) -> None:
    signs = tmp_path / "signs"
    await emitting_app.deploy(platform, tmp_path / "app", limit_s=0.3)

    await emitting_app.emit(platform, ["thread"], signs, sleep_s=1)
    codes = await wait_settled(platform, signs, ["thread"], dead=1)

    assert codes == ["deadline_exceeded"]
    begun = sorted(float(path.read_text()) for path in signs.glob("begun-*"))
    done = sorted(float(path.read_text()) for path in signs.glob("done-*"))
    assert len(begun) == len(done) == 3
    assert all(end <= next_begin for end, next_begin in zip(done, begun[1:], strict=False))


async def test_a_handler_in_a_thread_that_never_ends_costs_its_pod_and_never_runs_twice_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signs = tmp_path
    monkeypatch.setenv("FOX_EMIT_ATTEMPTS", "2")
    monkeypatch.setenv("FOX_EMIT_HUNG_S", "0.2")
    async with Platform(tmp_path / "data") as platform:
        await emitting_app.deploy(platform, tmp_path / "app", limit_s=0.2)

        await emitting_app.emit(platform, ["thread"], signs, sleep_s=10_000)
        codes = await wait_settled(platform, signs, [], dead=1)

    assert codes == ["deadline_exceeded"]
    processes = [path.name.split("-")[2] for path in signs.glob("begun-*")]
    assert len(processes) == len(set(processes)) == 2


async def test_events_of_an_undeployed_version_are_handled_after_a_restart_of_the_platform(
    platform: Platform, tmp_path: Path
) -> None:
    signs = tmp_path / "signs"
    names = [f"calls-{number}" for number in range(20)]
    await emitting_app.deploy(platform, tmp_path / "app")
    await emitting_app.emit(platform, names, signs, delay_s=3)
    await platform.fox("undeploy", "app")

    await platform.stop()
    async with Platform(platform.data_dir) as again:
        codes = await wait_settled(again, signs, names)
        # The pods of the version, and of the one that it calls, stop again.
        await again.wait_pods(0)

    assert codes == []
    assert emitting_app.done(signs) == sorted(names)


async def test_no_attempt_of_an_event_for_an_idle_version_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signs, names = tmp_path, [f"calls-{number}" for number in range(20)]
    monkeypatch.setenv("FOX_POD_IDLE_S", "1")
    monkeypatch.setenv("FOX_EMIT_ATTEMPTS", "1")
    async with Platform(tmp_path / "data") as platform:
        await emitting_app.deploy(platform, tmp_path / "app")
        await platform.wait_pods(0)

        await emitting_app.emit(platform, names, signs, delay_s=0.5)
        codes = await wait_settled(platform, signs, names)

    assert codes == []
    assert emitting_app.done(signs) == sorted(names)


async def test_waiting_events_of_one_environment_delay_none_of_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signs = tmp_path
    monkeypatch.setenv("FOX_EMIT_CONCURRENCY", "20")
    flood = [f"gated-{number}" for number in range(300)]
    victims = [f"victim-{number}" for number in range(20)]
    async with Platform(tmp_path / "data") as platform:
        await emitting_app.deploy(platform, tmp_path / "app", limit_s=600)
        await emitting_app.emit(platform, flood, signs)

        for number, name in enumerate(victims, 1):
            await emitting_app.emit(platform, [name], signs, environment="there")
            await wait_for(partial(_are_done, signs, number), SOON_S)
        done_beside_the_flood = emitting_app.done(signs)
        (signs / "end").touch()
        codes = await wait_settled(platform, signs, [*flood, *victims])

    assert done_beside_the_flood == sorted(victims)
    assert codes == []
    assert emitting_app.begun(signs) == sorted([*flood, *victims])


async def _are_done(signs: Path, count: int) -> bool:
    return len(emitting_app.done(signs)) >= count
