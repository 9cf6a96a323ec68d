"""Waiting until all processes have followed a revision of the control plane's data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.dispatch import followers as followers_module
from broker.dispatch.followers import FORGET_S, Follower, Followers, announced
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.storage.store import Store
from kubefox import subjects
from kubefox.environment import Environment
from kubefox.records import environment_key
from tests.support.nats import NatsServer

pytestmark = pytest.mark.usefixtures("impatient")

FOREVER_S = 60


class Time:
    def __init__(self) -> None:
        self.s = 1000.0

    def now_s(self) -> float:
        return self.s


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again soon, and wait shortly for answers."""
    monkeypatch.setattr("broker.dispatch.followers.ASK_S", 0.1)
    monkeypatch.setattr("broker.dispatch.followers._FOLLOW_S", 0.02)
    monkeypatch.setattr("broker.dispatch.followers._LOOK_S", 0.1)
    monkeypatch.setattr("broker.dispatch.followers._LOOK_AGAIN_S", ())


@pytest.fixture
async def other(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="other") as other:
        yield other


async def write(store: Store, name: str) -> int:
    return await store.create(environment_key(name), Environment(name=name))


async def test_waiting_ends_when_all_processes_have_followed(
    bus: Bus, store: Store, other: Bus
) -> None:
    followers = Followers(bus)
    async with followers.noting(), announced(other, store):
        revision = await write(store, "first")
        waiting = asyncio.create_task(followers.wait(revision + 1, FOREVER_S))
        assert await followers.wait(revision, FOREVER_S) == ()
        assert not waiting.done()

        assert await write(store, "second") == revision + 1

        assert await waiting == ()


async def test_a_process_that_answers_with_an_older_revision_is_waited_for(
    bus: Bus, other: Bus
) -> None:
    revisions = [6, 6, 7]

    async def answer(_question: bytes, reply: str) -> None:
        state = Follower(process="other", revision=revisions.pop(0))
        await other.publish(reply, msgspec.msgpack.encode(state))

    await other.serve(subjects.FOLLOWED, answer)
    await other.flush()
    followers = Followers(bus)
    async with followers.noting():
        assert await followers.wait(7, FOREVER_S) == ()

    assert revisions == []


async def test_a_process_that_ended_without_notice_is_named_and_waited_for_once(
    bus: Bus, store: Store, other: Bus
) -> None:
    killed, time = Follower(process="killed"), Time()
    followers = Followers(bus, time.now_s)
    async with followers.noting(), announced(other, store):
        await other.publish(subjects.PRESENT, msgspec.msgpack.encode(killed))
        await other.flush()
        first = asyncio.create_task(followers.wait(0, FOREVER_S))
        await asyncio.sleep(0)
        time.s += FOREVER_S

        assert await first == ("killed",)
        # Time stands still: nothing is waited for.
        assert await followers.wait(0, FOREVER_S) == ("killed",)
        time.s += FORGET_S
        assert await followers.wait(0, FOREVER_S) == ()


async def test_a_process_that_follows_after_it_was_waited_for_in_vain_is_not_named(
    bus: Bus, store: Store, other: Bus
) -> None:
    followers = Followers(bus)
    async with followers.noting():
        # NATS knows that this process listens before the other one speaks.
        await bus.flush()
        async with announced(other, store):
            await other.flush()
            await bus.flush()
            assert await followers.wait(store.revision + 1, 0) == ("other",)
            revision = await write(store, "first")
            await store.wait_revision(revision)

            assert await followers.wait(revision, FOREVER_S) == ()


async def test_a_process_that_does_not_follow_says_so_while_it_is_asked(
    bus: Bus, store: Store, other: Bus
) -> None:
    question = msgspec.msgpack.encode(store.revision + 1)
    async with announced(other, store):
        answers = await bus.gather(subjects.FOLLOWED, question, followers_module.ASK_S)

    (state,) = (msgspec.msgpack.decode(answer, type=Follower) for answer in answers)
    assert state == Follower(process="other", revision=store.snapshot.revision)


async def test_a_process_that_started_while_control_was_cut_off_is_found(
    bus: Bus, store: Store, other: Bus
) -> None:
    async def answer(_question: bytes, reply: str) -> None:
        await other.publish(reply, msgspec.msgpack.encode(Follower(process="other")))

    followers, revision = Followers(bus), await write(store, "first")
    await store.wait_revision(revision)
    async with followers.noting(), announced(bus, store):
        assert await followers.wait(revision, FOREVER_S) == ()
        # It was announced to a server that this process had no connection to.
        await other.serve(subjects.FOLLOWED, answer)
        await other.flush()
        await bus.reconnected()

        async with asyncio.timeout(FOREVER_S):
            while await followers.wait(revision, 0) != ("other",):
                await asyncio.sleep(0.01)


async def test_a_process_that_answers_the_first_look_too_late_is_found(
    bus: Bus, other: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.dispatch.followers._LOOK_AGAIN_S", (FOREVER_S,))
    may_answer = asyncio.Event()

    async def answer(_question: bytes, reply: str) -> None:
        await may_answer.wait()
        await other.publish(reply, msgspec.msgpack.encode(Follower(process="other")))

    await other.serve(subjects.FOLLOWED, answer)
    await other.flush()
    followers = Followers(bus)
    async with followers.noting():
        assert await followers.wait(1, 0) == ()
        may_answer.set()

        async with asyncio.timeout(FOREVER_S):
            while await followers.wait(1, 0) != ("other",):
                await asyncio.sleep(0.01)


async def test_a_process_that_says_that_it_ends_is_not_waited_for(
    bus: Bus, store: Store, other: Bus
) -> None:
    followers = Followers(bus)
    async with followers.noting(), announced(bus, store):
        async with announced(other, store):
            assert await followers.wait(store.revision + 1, 0) == (bus.process_id, "other")
        await other.flush()

        assert await followers.wait(store.revision + 1, 0) == (bus.process_id,)
