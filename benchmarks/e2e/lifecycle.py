"""Costs besides requests: deploying, starting and waking pods, and an idle platform."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.e2e.kubefox import (
    FIRST,
    FOX,
    KubeFox,
    commit,
    deploy_app,
    deploy_copies,
    start_fox_up,
    url_path,
)
from benchmarks.support.programs import Programs, rss_bytes, wakeups
from benchmarks.support.rounds import Spread, spread
from fox.cli.support.bundle_upload import upload_bundles
from fox.cli.support.kinds import DEPLOYMENTS
from fox.source.app import read_app
from fox.source.export import export_definitions
from kubefox.component import ComponentVersion
from kubefox.deployment import Deployment

COMPONENT = "direct"
IDLE_S = 6.0
SETTLE_S = 2.0
IDLE_AFTER_S = 1.0
GIVE_UP_S = 30
MIB = 1 << 20


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of an idle platform."""

    rss_mib: float
    wakeups_per_s: float


class Lifecycle(msgspec.Struct, frozen=True, kw_only=True):
    """Times and costs of ``fox up`` with the app of the benchmark, one pod a component.

    Attributes:
        known_ms: Time from storing a deployment of known hashes until its explicit URL answers.
        new_pod_s: The same time for a component with new code that is uploaded already.
        wake_s: Time of a request to an idle component version.
        fox_deploy_s: Time of ``fox deploy --wait`` for a new version of one component.
        idle: Memory and wake-ups of each process of an idle platform, by its role.
    """

    known_ms: Spread
    new_pod_s: Spread
    wake_s: Spread
    fox_deploy_s: Spread
    idle: dict[str, Process]


async def measure(folder: Path, repeats: int) -> Lifecycle:
    """Measure on two platforms, one after the other.

    Args:
        folder: Folder for the data of the platforms; it is created.
        repeats: How often each deployment and each waking is measured.
    """
    wakings = await _wakings(folder / "idle", repeats)
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_fox_up(programs)
        app = await deploy_app(kubefox, programs)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        idle = await _idle(kubefox)
        known = [
            await _known_hashes(kubefox, session, f"known-{number}")
            for number in range(3 * repeats)
        ]
        new = [await _new_pod(kubefox, session, app, number) for number in range(repeats)]
        whole = [await _fox_deploy(kubefox, programs, app, number) for number in range(repeats)]
    return Lifecycle(
        known_ms=spread([seconds * 1000 for seconds in known]),
        new_pod_s=spread(new),
        fox_deploy_s=spread(whole),
        idle=idle,
        wake_s=spread(wakings),
    )


async def _wakings(folder: Path, repeats: int) -> list[float]:
    """Return the times of several requests to an idle component version, in seconds."""
    folder.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_fox_up(programs, idle_s=IDLE_AFTER_S)
        await deploy_app(kubefox, programs)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        return [await _waking(kubefox, session) for _ in range(repeats)]


async def _waking(kubefox: KubeFox, session: aiohttp.ClientSession) -> float:
    async with asyncio.timeout(GIVE_UP_S):
        while COMPONENT not in await kubefox.idle_components():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
    start_s = time.perf_counter()
    if not await _is_ok(session, _url(kubefox, FIRST)):
        raise RuntimeError("a request to an idle component version failed")
    return time.perf_counter() - start_s


async def _idle(kubefox: KubeFox) -> dict[str, Process]:
    pods = await kubefox.pods(COMPONENT)
    groups: Mapping[str, tuple[int, ...]] = {**kubefox.processes, "a pod": pods[COMPONENT]}
    await asyncio.sleep(SETTLE_S)
    before = {name: wakeups(pids) for name, pids in groups.items()}
    await asyncio.sleep(IDLE_S)
    return {
        name: Process(
            rss_mib=round(rss_bytes(pids) / MIB, 1),
            wakeups_per_s=round((wakeups(pids) - before[name]) / IDLE_S, 1),
        )
        for name, pids in groups.items()
    }


async def _known_hashes(kubefox: KubeFox, session: aiohttp.ClientSession, name: str) -> float:
    start_s = time.perf_counter()
    await deploy_copies(kubefox, [name])
    await _answers(kubefox, session, name)
    return time.perf_counter() - start_s


async def _new_pod(
    kubefox: KubeFox, session: aiohttp.ClientSession, app: Path, number: int
) -> float:
    await asyncio.to_thread(change, app, f"new pod {number}")
    name = f"new-{number}"
    store = await asyncio.to_thread(upload, kubefox, app, name)
    start_s = time.perf_counter()
    await asyncio.to_thread(kubefox.control.put, "v1", DEPLOYMENTS.path, name, body=store)
    await _answers(kubefox, session, name)
    return time.perf_counter() - start_s


async def _fox_deploy(kubefox: KubeFox, programs: Programs, app: Path, number: int) -> float:
    await asyncio.to_thread(change, app, f"whole {number}")
    environ = kubefox.environ
    start_s = time.perf_counter()
    await programs.run(FOX, "deploy", f"whole-{number}", "--wait", cwd=app, environ=environ)
    return time.perf_counter() - start_s


def change(app: Path, remark: str) -> None:
    """Commit new code of one component."""
    with (app / "components" / COMPONENT / "main.py").open("a") as code:
        code.write(f"# {remark}\n")
    shutil.rmtree(app / "components" / COMPONENT / "__pycache__", ignore_errors=True)
    commit(app)


def upload(kubefox: KubeFox, app: Path, name: str) -> dict[str, object]:
    """Do the steps of ``fox deploy`` before the deployment is stored; return the request."""
    source = read_app(app)
    changed = source.components[COMPONENT]
    upload_bundles(kubefox.control, [changed])
    definition = export_definitions([changed])[COMPONENT]
    version = ComponentVersion(
        app=source.spec.name,
        hash=changed.hash,
        definition=definition,
        runtime=changed.runtime,
    )
    wanted = Deployment(name=name, app=source.spec.name, components=source.hashes)
    return {"deployment": wanted, "components": [version]}


async def _answers(kubefox: KubeFox, session: aiohttp.ClientSession, deployment: str) -> None:
    url = _url(kubefox, deployment)
    async with asyncio.timeout(GIVE_UP_S):
        while not await _is_ok(session, url):
            pass


def _url(kubefox: KubeFox, deployment: str) -> str:
    return f"http://127.0.0.1:{kubefox.http_port}{url_path(COMPONENT, deployment)}"


async def _is_ok(session: aiohttp.ClientSession, url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(url) as response:
            if response.status == HTTPStatus.OK:
                return True
    # Without a pause, polling would take the CPU time that the starting pod needs.
    await asyncio.sleep(0.002)
    return False
