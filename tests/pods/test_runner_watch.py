"""A pod runner that is not served has died; in a cluster, it may be cut off from NATS instead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.dispatch.pod_runners import encode
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient
from broker.storage.pod_board import PodBoard, open_pod_board
from kubefox import subjects
from kubefox.errors import NatsUnavailable
from kubefox.pod import PodPhase, PodStatus, RunnerStatus
from pods import runner_watch
from pods.runner_watch import RunnerWatch

OTHER = RunnerStatus(name="other")
POD = PodStatus(
    id="api-1",
    app="shop",
    component="api",
    hash="a" * 32,
    phase=PodPhase.READY,
    runner=OTHER.name,
)
CUT_OFF, DRAINS, DEAD = (True, True), (True, False), (False, False)


class Announced:
    """The announcements of a pod: whether it may drain, and whether it may be cut off."""

    def __init__(self) -> None:
        self.notices: list[tuple[bool, bool]] = []

    async def note(
        self, dead: PodStatus, *, may_drain: bool = False, is_cut_off: bool = False
    ) -> None:
        assert dead == POD
        self.notices.append((may_drain, is_cut_off))

    async def wait(self, count: int) -> None:
        while len(self.notices) < count:
            await asyncio.sleep(0.01)


@pytest.fixture
async def board(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PodBoard]:
    monkeypatch.setattr(runner_watch, "CHECK_S", 0.01)
    monkeypatch.setattr(runner_watch, "ORPHANS_S", 0.01)
    async with open_pod_board(bus) as board:
        for entry in (OTHER, POD):
            await board.publish(entry)
        while not (board.shows(OTHER) and board.shows(POD)):
            await board.wait_change(board.changes)
        yield board


async def wait_removed(board: PodBoard) -> None:
    """Return when the board shows neither the other runner nor its pod."""
    while board.shows(OTHER) or board.shows(POD):
        await board.wait_change(board.changes)


@contextlib.asynccontextmanager
async def watching(bus: Bus, board: PodBoard) -> AsyncIterator[Announced]:
    announced = Announced()
    watch = asyncio.create_task(RunnerWatch(bus, board, "own", announced.note).run())
    try:
        yield announced
    finally:
        watch.cancel()


async def test_a_runner_that_is_not_served_has_died(bus: Bus, board: PodBoard) -> None:
    async with watching(bus, board) as announced:
        await announced.wait(2)

    assert announced.notices == [DRAINS, DEAD]
    await wait_removed(board)


async def test_a_dead_runner_is_announced_once_if_the_board_shows_it_for_longer(
    bus: Bus, board: PodBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []

    async def remove_late(_board: PodBoard, key: str) -> None:
        removed.append(key)

    monkeypatch.setattr(PodBoard, "remove", remove_late)
    async with watching(bus, board) as announced:
        await announced.wait(2)
        # It is checked after the other one.
        third = RunnerStatus(name="third")
        await board.publish(third)
        while third.key not in removed:
            await asyncio.sleep(0.01)
        found = removed.copy()
        # As one does that was taken for dead.
        await board.publish(OTHER)
        while removed.count(OTHER.key) < 2:
            await asyncio.sleep(0.01)

    assert announced.notices[:2] == [DRAINS, DEAD]
    assert found == [POD.key, OTHER.key, third.key]


async def test_a_dead_runner_that_cannot_be_removed_is_removed_later(
    bus: Bus, board: PodBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, has_failed = PodBoard.remove, asyncio.Event()

    async def remove_at_second_try(board: PodBoard, key: str) -> None:
        if not has_failed.is_set():
            has_failed.set()
            raise NatsUnavailable("it is away")
        await remove(board, key)

    monkeypatch.setattr(PodBoard, "remove", remove_at_second_try)
    async with watching(bus, board):
        await has_failed.wait()

        await wait_removed(board)


async def test_in_a_cluster_it_is_cut_off_first_and_dead_if_it_does_not_come_back(
    bus: Bus, board: PodBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    monkeypatch.setattr(runner_watch, "CUT_OFF_S", 0.2)
    async with watching(bus, board) as announced:
        await announced.wait(1)
        assert board.shows(OTHER)
        await announced.wait(3)

    assert announced.notices == [CUT_OFF, DRAINS, DEAD]
    await wait_removed(board)


async def test_in_a_cluster_a_runner_that_comes_back_keeps_its_pods(
    bus: Bus, board: PodBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    asked = asyncio.Event()

    async def answer(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, encode(None))
        asked.set()

    async with watching(bus, board) as announced:
        await announced.wait(1)
        await bus.serve(subjects.runner(OTHER.name), answer)
        await asked.wait()

        assert announced.notices == [CUT_OFF]
        assert board.shows(OTHER)
        assert board.shows(POD)
