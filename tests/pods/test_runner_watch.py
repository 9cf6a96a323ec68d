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
    assert not board.shows(POD)


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
    assert not board.shows(OTHER)


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
