"""Events take turns on a pod: among handlers that go on at once, and among calls in a circle."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from examples.demo.platform import Platform
from tests.adapters.http.raw import ask
from tests.e2e.slow_app import ENVIRONMENT
from tests.faults.test_overload import OK, flood, get, statuses

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

SLICES = 200
ANSWERS = 5

_SLICED = '''\
"""Computes at many events of a run at once; says how many slices began while another one waited."""

import asyncio
import time
from collections import Counter, defaultdict
from pathlib import Path

from broker.dispatch.event_queue import EventQueue
from broker.dispatch.handling import Handling
from fox import Context, Kit

kit = Kit(title="Sliced", concurrency=1000)
begun: Counter[str] = Counter()
begun_at_arrival: dict[str, int] = {}
waiting: defaultdict[str, list[str]] = defaultdict(list)
may_compute: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


admit = EventQueue.admit


def note_and_admit(queue: EventQueue, handling: Handling) -> None:
    """Note what has begun when an event arrives here: on its way, it may take any time."""
    begun_at_arrival[handling.event.id] = begun.total()
    admit(queue, handling)


EventQueue.admit = note_and_admit


@kit.route("Path(`/slice`)")
async def compute_later(ctx: Context) -> None:
    """Hold the loop again and again when all may, until a file exists."""
    run, end = ctx.query["run"], Path(ctx.query["end"])
    waiting[run].append(ctx.id)
    await may_compute[run].wait()
    while not end.exists():
        compute(run)
        await asyncio.sleep(0)


@kit.route("Path(`/slice-in-task`)")
async def compute_in_task_later(ctx: Context) -> None:
    """Let tasks hold the loop when all may, until a file exists."""

    run, end = ctx.query["run"], Path(ctx.query["end"])

    async def compute_soon() -> None:
        compute(run)

    waiting[run].append(ctx.id)
    await may_compute[run].wait()
    while not end.exists():
        await asyncio.create_task(compute_soon())


def compute(run: str) -> None:
    """Hold the loop."""
    begun[run] += 1
    end_s = time.thread_time() + 0.01
    while time.thread_time() < end_s:
        pass


@kit.route("Path(`/compute-now`)")
async def start(ctx: Context) -> None:
    """Let all of the run compute."""
    may_compute[ctx.query["run"]].set()


@kit.route("Path(`/slices`)")
async def show(ctx: Context) -> dict[str, int]:
    """Return how many of the run wait or have begun, and how many began since this arrived."""
    run = ctx.query["run"]
    ahead = begun.total() - begun_at_arrival[ctx.id]
    return {"waiting": len(waiting[run]), "begun": begun[run], "ahead": ahead}
'''

_OUTER = '''\
"""Calls itself through another component."""

from fox import Context, Kit

kit = Kit(title="Outer", concurrency=1)
inner = kit.component("inner")


@kit.route("Path(`/circle`)")
async def circle(ctx: Context) -> bytes:
    """Return what the inner component returns."""
    return (await inner.get("/", ctx=ctx)).body


@kit.default
async def end(ctx: Context) -> str:
    """End the circle."""
    return "end"
'''

_INNER = '''\
"""Calls its caller."""

from fox import Context, Kit

kit = Kit(title="Inner", concurrency=1)
outer = kit.component("outer")


@kit.default
async def call_back(ctx: Context) -> bytes:
    """Return what the outer component returns."""
    return (await outer.get("/", ctx=ctx)).body
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A platform with one deployment in two virtual environments."""
    folder = tmp_path_factory.mktemp("turns")
    build(folder / "app")
    async with Platform(folder / "data") as platform:
        await platform.fox("apply", "-f", "environments.yaml", cwd=folder / "app")
        await platform.fox("deploy", "app", "--dirty", "--wait", cwd=folder / "app")
        yield platform


def build(folder: Path) -> None:
    for name, text in (("sliced", _SLICED), ("outer", _OUTER), ("inner", _INNER)):
        component = folder / "components" / name
        component.mkdir(parents=True)
        (component / "main.py").write_text(text)
    (folder / "app.yaml").write_text("name: turns\n")
    _, second = ENVIRONMENT.split("---\n")
    second = second.replace("name: here", "name: there")
    (folder / "environments.yaml").write_text(f"{ENVIRONMENT}---\n{second}")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


@pytest.fixture
def port(platform: Platform) -> int:
    return urlsplit(platform.http_url).port or 0


@pytest.mark.parametrize("path", ["/slice", "/slice-in-task"])
async def test_a_neighbour_does_not_wait_for_all_handlers_that_go_on_at_once(
    port: int, path: str, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    run = f"run={path}&end={end}"

    async def slices() -> dict[str, Any]:
        return (await ask(port, get(f"/slices?{run}", "there"))).json()

    async with flood(port, get(f"{path}?{run}"), SLICES):
        while (await slices())["waiting"] < SLICES:
            await asyncio.sleep(0.01)
        await ask(port, get(f"/compute-now?{run}", "there"))
        found: list[dict[str, int]] = []
        while len(found) < ANSWERS:
            found += [one] if (one := await slices())["begun"] else []
        end.touch()

    assert max(one["ahead"] for one in found) < SLICES / 2


async def test_components_that_call_each_other_do_not_wait_for_their_own_places(
    platform: Platform, port: int
) -> None:
    found = await statuses(port, get("/circle"), 30, 1000)
    table = await platform.fox("scale", "inner")

    assert found == {OK: 30}
    header, line = (text.split() for text in table.splitlines())
    assert line[header.index("CONCURRENCY")] == "1"
