"""A change costs the same at any number of deployments.

Counted instead of timed: a walk over all records calls a function for each of them, or makes a
collection of all of them in one call.
"""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgspec
import pytest

from broker.nats.bus import Bus
from broker.nats.jetstream import ensure_bucket
from broker.runtime.cooperative import TimeSlice
from broker.storage.records_bucket import BUCKET, HISTORY
from control.listing.list_kind import ListQuery
from kubefox import records
from kubefox.component import Value
from kubefox.environment import (
    Environment,
    EnvironmentData,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from kubefox.records import Record
from kubefox.release import Release, ReleasedApp, ReleaseState
from tests.control.releasing import API, API_V2, UI
from tests.support.connecting import connect
from tests.support.control_plane import APP, Plane, deployment, open_plane, pods_of
from tests.support.nats import NatsServer

SMALL, LARGE = 100, 10_000
ROUNDS = 3
"""Each change is made so often, and the round with the fewest calls counts: others had timers."""

SPARE = 1.1
SPARE_CALLS = 150
"""Timers of other tasks, and longer work in steps; 10,000 deployments have 200 that wait."""

SPARE_BYTES = 32 << 10
"""Revisions and trees are larger; a collection of all of 10,000 deployments takes 80 kB or more."""

Change = Callable[[Plane, str], Awaitable[object]]


def environment(**values: Value) -> Environment:
    policy = ReleasePolicy(type=PolicyType.TESTING)
    data = EnvironmentData(vars={"unused": "x", **values})
    return Environment(name="dev", data=data, release_policy=policy)


def virtual_environment(
    name: str, policy: PolicyType = PolicyType.TESTING, path: str = "", environment: str = "dev"
) -> VirtualEnvironment:
    data = EnvironmentData(vars={"subPath": path or name})
    return VirtualEnvironment(
        name=name, environment=environment, data=data, release_policy=ReleasePolicy(type=policy)
    )


def existing(count: int) -> Iterator[tuple[str, Record]]:
    """Yield the records of deployments, each released in a virtual environment of its own."""
    yield records.environment_key("dev"), environment()
    yield records.environment_key("waiting"), Environment(name="waiting")
    for version in (UI, API, API_V2):
        yield records.component_key(version.app, version.name, version.hash), version
    yield records.deployment_key("waiting"), deployment("waiting", UI, API_V2)
    for number in range(count):
        team, name = f"team-{number}", f"d-{number}"
        is_waiting = number % 50 == 0
        virtual = virtual_environment(team, environment="waiting" if is_waiting else "dev")
        yield records.virtual_environment_key(team), virtual
        yield records.deployment_key(name), deployment(name, UI, API)
        # Some wait for a component version without pods.
        pending = release("r2", "waiting") if is_waiting else None
        state = ReleaseState(virtual_environment=team, active=release("r1", name), pending=pending)
        yield records.release_key(team), state


def release(release_id: str, name: str) -> Release:
    apps = {APP: ReleasedApp(deployment=name)}
    return Release(id=release_id, apps=apps, manifest=None, requested_at_s=2e9, activated_at_s=1)


async def fill(bus: Bus, count: int) -> None:
    await ensure_bucket(bus, BUCKET, history=HISTORY)
    for key, record in existing(count):
        await bus.publish(f"$KV.{BUCKET}.{key}", records.encode(record))
    await bus.flush()


@asynccontextmanager
async def filled_plane(folder: Path, count: int) -> AsyncIterator[Plane]:
    """Start a control plane on a NATS that holds ``count`` deployments."""
    with NatsServer(folder) as server:
        async with connect(server.url, process_id="fill") as bus:
            await fill(bus, count)
        async with open_plane(server.url) as plane:
            last = await plane.store.last_revision()
            await plane.store.wait_beyond(last - 1)
            for version in (UI, API, API_V2):
                await plane.control.bundles.put(version.hash, b"code")
            await plane.publish(*pods_of(UI, API))
            async with plane.control.activator:
                yield plane


class Calls:
    """Counts the calls of Python functions, and the steps of generators, while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Calls:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_exception: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        self.count += event == "call" and not _is_look(frame)


def _is_look(frame: FrameType | None) -> bool:
    """Return whether a call is one of ``settle``, which looks more often on a slow machine."""
    if frame is not None and frame.f_code.co_name == "_set_result_unless_cancelled":
        return True  # the end of a sleep
    while frame is not None:
        if frame.f_code is settle.__code__:
            return True
        frame = frame.f_back
    return False


class Cost(NamedTuple):
    """The cost of one change.

    Attributes:
        calls: Calls of functions.
        writes: Records written.
        sent_messages: Messages sent to NATS.
        sent_bytes: Bytes in them.
        memory_bytes: Largest amount of memory that was allocated at once.
    """

    calls: int
    writes: int
    sent_messages: int
    sent_bytes: int
    memory_bytes: int


async def settle(plane: Plane) -> None:
    """Return when the activator has reviewed all that the latest change makes due."""
    while not plane.control.activator.is_settled:
        await asyncio.sleep(0.005)


async def cost(plane: Plane, change: Change) -> Cost:
    """Return the cost of one change."""
    found = []
    for number in range(ROUNDS):
        await settle(plane)
        revision, sent = plane.store.snapshot.revision, plane.bus._client.stats.copy()
        tracemalloc.start()
        with Calls() as calls:
            await change(plane, f"new-{number}")
            # As a task: each look would go on with all callers of this too.
            await asyncio.create_task(settle(plane))
        _, memory_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found.append(
            Cost(
                calls=calls.count,
                writes=plane.store.snapshot.revision - revision,
                sent_messages=plane.bus._client.stats["out_msgs"] - sent["out_msgs"],
                sent_bytes=plane.bus._client.stats["out_bytes"] - sent["out_bytes"],
                memory_bytes=memory_bytes,
            )
        )
    return Cost(*map(min, zip(*found, strict=True)))


async def list_all(plane: Plane) -> None:
    """Read the first page of each list; from then on, its index follows all changes."""
    lists = plane.control.lists
    for listing in (
        lists.deployments,
        lists.releases,
        lists.environments,
        lists.virtual_environments,
        lists.scales,
    ):
        await listing.page(ListQuery(limit=10))


async def create(plane: Plane, name: str) -> None:
    await plane.control.deployments.deploy(deployment(name, UI, API, version="v1"), [])


async def create_another(plane: Plane, name: str) -> None:
    await plane.control.deployments.deploy(deployment(f"{name}-live", UI, API), [])


async def redeploy(plane: Plane, name: str) -> None:
    wanted = msgspec.structs.replace(deployment(f"{name}-live", UI, API), title="New")
    await plane.control.deployments.deploy(wanted, [])


async def roll_out(plane: Plane, name: str) -> None:
    await plane.control.deployments.deploy(deployment(f"{name}-live", UI, API_V2), [])


async def read(plane: Plane, name: str) -> None:
    await plane.control.deployments.get(name)


async def create_stable(plane: Plane, name: str) -> None:
    await plane.control.environments.put(virtual_environment(name, PolicyType.STABLE))


async def create_testing(plane: Plane, name: str) -> None:
    await plane.control.environments.put(virtual_environment(f"{name}-live"))


async def change_values(plane: Plane, name: str) -> None:
    await plane.control.environments.put(virtual_environment(f"{name}-live", path=f"{name}-x"))


async def change_unused_variable(plane: Plane, name: str) -> None:
    await plane.control.environments.put(environment(unused=name))


async def change_variable_that_all_set_themselves(plane: Plane, name: str) -> None:
    await plane.control.environments.put(environment(subPath=name))


async def release_stable(plane: Plane, name: str) -> None:
    await plane.control.releases.request(name, name)


async def release_testing(plane: Plane, name: str) -> None:
    await plane.control.releases.request(f"{name}-live", f"{name}-live")


async def withdraw(plane: Plane, name: str) -> None:
    await plane.control.releases.request_apps(f"{name}-live", {})


async def undeploy(plane: Plane, name: str) -> None:
    await plane.control.deployments.undeploy(f"{name}-live")


async def delete_environment(plane: Plane, name: str) -> None:
    await plane.control.environments.delete(VirtualEnvironment, name, force=True)


CHANGES: tuple[Change, ...] = (
    create,
    create_another,
    create_stable,
    create_testing,
    release_stable,
    release_testing,
    redeploy,
    roll_out,
    read,
    change_values,
    change_unused_variable,
    change_variable_that_all_set_themselves,
    withdraw,
    undeploy,
    delete_environment,
)


async def costs(folder: Path, count: int) -> dict[str, Cost]:
    async with filled_plane(folder, count) as plane:
        await list_all(plane)
        return {change.__name__: await cost(plane, change) for change in CHANGES}


async def go_on(_time_slice: TimeSlice) -> None:
    """Take no time into account: a slow machine needs more turns for the same work."""


async def test_a_change_costs_the_same_at_any_number_of_deployments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimeSlice, "checkpoint", go_on)
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    small = await costs(tmp_path / "small", SMALL)

    large = await costs(tmp_path / "large", LARGE)

    for name, few in small.items():
        many = large[name]
        assert many.writes == few.writes, name
        assert many.sent_messages == few.sent_messages, name
        assert many.calls <= SPARE * few.calls + SPARE_CALLS, name
        assert many.sent_bytes <= SPARE * few.sent_bytes, name
        assert many.memory_bytes <= SPARE * few.memory_bytes + SPARE_BYTES, name
