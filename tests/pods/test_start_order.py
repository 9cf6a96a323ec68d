"""Pods of released versions start first, then recently used ones, then the rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.environment import EnvironmentData
from kubefox.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from pods.start_order import StartPriorities, StartRank, start_order
from pods.start_progress import StartProgress
from pods.start_slots import StartSlots
from routing.snapshot.usage_index import usage_of
from tests.pods.test_plan import snapshot_of

versions = st.builds(Version, st.just("app"), st.sampled_from("abc"), st.sampled_from("12345"))
ranks = st.dictionaries(versions, st.sampled_from(StartRank))
A, B, C, D = (Version("app", name, name * 2) for name in "abcd")


@given(st.lists(versions), ranks)
def test_the_order_has_all_versions_by_rank(
    wanted: list[Version], given: dict[Version, StartRank]
) -> None:
    def rank(version: Version) -> StartRank:
        return given.get(version, StartRank.OTHER)

    order = start_order(wanted, rank)

    assert Counter(order) == Counter(wanted)
    assert [rank(version) for version in order] == sorted(map(rank, order))
    assert start_order(wanted[::-1], rank) == order


def test_versions_of_active_releases_start_first_frozen_or_live() -> None:
    frozen = ReleaseManifest(
        id="r1",
        virtual_environment="one",
        deployments={"app": deployment("then", A)},
        data=EnvironmentData(),
    )
    snapshot = snapshot_of(
        deployment("live", B),
        deployment("next", C),
        deployment("other", D),
        frozen,
        ReleaseState(virtual_environment="one", active=release("r1", "then", manifest="r1")),
        ReleaseState(
            virtual_environment="two", active=release("r2", "live"), pending=release("r3", "next")
        ),
    )
    rank = partial(StartPriorities().rank, usage=usage_of(snapshot))

    assert {version: rank(version) for version in (A, B, C, D)} == {
        A: StartRank.RELEASED,
        B: StartRank.RELEASED,
        C: StartRank.RECENT,
        D: StartRank.OTHER,
    }


def test_versions_that_were_used_lately_are_preferred_at_once() -> None:
    usage = usage_of(snapshot_of(deployment("v1", A, B)))
    priorities = StartPriorities()
    before = start_order([A, B], partial(priorities.rank, usage=usage))

    priorities.used_hashes = frozenset({B.hash})

    assert before == (A, B)
    assert start_order([A, B], partial(priorities.rank, usage=usage)) == (B, A)


async def test_the_most_urgent_start_gets_the_next_slot() -> None:
    slots, urgency, started = StartSlots(1), {"a": 1, "b": 1, "c": 1, "d": 2}, list[str]()

    async def start(name: str) -> None:
        async with slots.hold(lambda: urgency[name]):
            started.append(name)

    async with asyncio.TaskGroup() as group, slots.hold(lambda: 0):
        tasks = {name: group.create_task(start(name)) for name in urgency}
        await asyncio.sleep(0)
        # It becomes more urgent while it waits.
        urgency["c"] = 0
        tasks["a"].cancel()

    assert started == ["c", "b", "d"]


async def test_a_start_that_is_cancelled_with_its_slot_gives_it_back() -> None:
    slots = StartSlots(1)

    async def start() -> None:
        async with slots.hold(lambda: 0):
            pass

    async with slots.hold(lambda: 0):
        cancelled = asyncio.create_task(start())
        await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)

    await start()


def test_the_progress_counts_released_versions_and_others() -> None:
    wanted, released = {A, B, C}, {A}

    begun = StartProgress.of(wanted, released, ready=[A, A], failed=[])
    ended = StartProgress.of(wanted, released, ready=[A, B], failed=[C])

    assert begun.text == "ready: released 1 of 1, others 0 of 2"
    assert ended.text == "ready: released 1 of 1, others 1 of 2"
    assert (begun.is_settled, ended.is_settled) == (False, True)


def deployment(name: str, *members: Version) -> Deployment:
    components = {component: digest for _, component, digest in members}
    return Deployment(name=name, app="app", components=components)


def release(release_id: str, name: str, manifest: str | None = None) -> Release:
    apps = {"app": ReleasedApp(deployment=name)}
    return Release(id=release_id, apps=apps, manifest=manifest, requested_at_s=0)
