"""What is not a request: deploying, starting and waking pods, and doing nothing."""

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
    start_whole,
    url_path,
)
from benchmarks.support.programs import Programs, rss_bytes, wakeups
from benchmarks.support.rounds import Spread, spread
from fox.cli.kinds import DEPLOYMENTS
from fox.cli.upload import upload_bundles
from fox.source.app import read_app
from fox.source.export import export_definitions
from model.component import ComponentVersion
from model.deployment import Deployment

COMPONENT = "direct"
IDLE_S = 6.0
SETTLE_S = 2.0
SLEEPS_AFTER_S = 1.0
GIVE_UP_S = 30
MIB = 1 << 20


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of an idle platform."""

    rss_mib: float
    wakeups_per_s: float


class Lifecycle(msgspec.Struct, frozen=True, kw_only=True):
    """Measured on ``fox up`` with the benchmark's app, one pod a component.

    Attributes:
        known_ms: Storing a deployment of known hashes until its explicit URL answers.
        new_pod_s: The same for a component whose code is new, and already uploaded.
        wake_s: A request whose component sleeps, until it is answered.
        fox_deploy_s: The whole command for a new version of one component, ``--wait`` included.
        idle: By what the process is.
    """

    known_ms: Spread
    new_pod_s: Spread
    wake_s: Spread
    fox_deploy_s: Spread
    idle: dict[str, Process]


async def measure(folder: Path, repeats: int) -> Lifecycle:
    """Return what two platforms of its own did, one after the other.

    Args:
        folder: For them; made.
        repeats: Of each deployment, and of each waking.
    """
    wakings = await _wakings(folder / "sleeping", repeats)
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_whole(programs)
        app = await deploy_app(kubefox, programs)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        idle = await _idle(kubefox)
        known = [await _known(kubefox, session, f"known-{turn}") for turn in range(3 * repeats)]
        new = [await _new_pod(kubefox, session, app, turn) for turn in range(repeats)]
        whole = [await _fox_deploy(kubefox, programs, app, turn) for turn in range(repeats)]
    return Lifecycle(
        known_ms=spread([each * 1000 for each in known]),
        new_pod_s=spread(new),
        fox_deploy_s=spread(whole),
        idle=idle,
        wake_s=spread(wakings),
    )


async def _wakings(folder: Path, repeats: int) -> list[float]:
    """Return how long each of several requests took whose component slept."""
    folder.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_whole(programs, idle_s=SLEEPS_AFTER_S)
        await deploy_app(kubefox, programs)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        return [await _waking(kubefox, session) for _ in range(repeats)]


async def _waking(kubefox: KubeFox, session: aiohttp.ClientSession) -> float:
    async with asyncio.timeout(GIVE_UP_S):
        while COMPONENT not in await kubefox.asleep():  # noqa: ASYNC110 - it sleeps elsewhere
            await asyncio.sleep(0.1)
    start_s = time.perf_counter()
    if not await _is_ok(session, _url(kubefox, FIRST)):
        raise RuntimeError("a request whose component slept failed")
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


async def _known(kubefox: KubeFox, session: aiohttp.ClientSession, name: str) -> float:
    start_s = time.perf_counter()
    await deploy_copies(kubefox, [name])
    await _answers(kubefox, session, name)
    return time.perf_counter() - start_s


async def _new_pod(kubefox: KubeFox, session: aiohttp.ClientSession, app: Path, turn: int) -> float:
    await asyncio.to_thread(_change, app, f"new pod {turn}")
    name = f"new-{turn}"
    store = await asyncio.to_thread(_upload, kubefox, app, name)
    start_s = time.perf_counter()
    await asyncio.to_thread(kubefox.control.put, "v1", DEPLOYMENTS.path, name, body=store)
    await _answers(kubefox, session, name)
    return time.perf_counter() - start_s


async def _fox_deploy(kubefox: KubeFox, programs: Programs, app: Path, turn: int) -> float:
    await asyncio.to_thread(_change, app, f"whole {turn}")
    environ = {"FOX_CONTROL_URL": kubefox.control_url}
    start_s = time.perf_counter()
    await programs.run(FOX, "deploy", f"whole-{turn}", "--wait", cwd=app, environ=environ)
    return time.perf_counter() - start_s


def _change(app: Path, remark: str) -> None:
    with (app / "components" / COMPONENT / "main.py").open("a") as code:
        code.write(f"# {remark}\n")
    shutil.rmtree(app / "components" / COMPONENT / "__pycache__", ignore_errors=True)
    commit(app)


def _upload(kubefox: KubeFox, app: Path, name: str) -> dict[str, object]:
    """Do what ``fox deploy`` does before it stores the deployment; return what it stores."""
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
    # Asking without a rest would take the CPU that the pod needs to start.
    await asyncio.sleep(0.002)
    return False
