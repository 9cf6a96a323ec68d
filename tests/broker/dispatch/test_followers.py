"""Waiting until all processes have followed a revision of the control plane's data."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.dispatch.followers import FORGET_S, Follower, Followers, announced
from broker.nats.bus import Bus
from broker.storage.store import Store
from kubefox import subjects
from kubefox.environment import Environment
from kubefox.records import environment_key
from tests.support.connecting import connect
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
    async with connect(own_nats_server.url, process_id="other") as other:
        yield other


class CountingFollowers(Followers):
    """Counts the answers that it has taken."""

    answers = 0

    def _note_answer(self, frame: bytes) -> Follower | None:
        self.answers += 1
        return super()._note_answer(frame)


@contextlib.asynccontextmanager
async def noting(followers: Followers, bus: Bus) -> AsyncIterator[None]:
    """Note processes as soon as NATS knows that this one listens."""
    async with followers.noting():
        await bus.flush()
        yield


async def heard(speaker: Bus, listener: Bus) -> None:
    """Return when a process has read what another one has said."""
    await speaker.flush()
    await listener.flush()


async def write(store: Store, name: str) -> int:
    return await store.create(environment_key(name), Environment(name=name))


async def test_waiting_ends_when_all_processes_have_followed(
    bus: Bus, store: Store, other: Bus
) -> None:
    followers = Followers(bus)
    async with noting(followers, bus), announced(other, store):
        await heard(other, bus)
        revision = await write(store, "first")
        waiting = asyncio.create_task(followers.wait(revision + 1, FOREVER_S))
        assert await followers.wait(revision, FOREVER_S) == ()
        assert not waiting.done()

        assert await write(store, "second") == revision + 1

        assert await waiting == ()


async def test_a_process_that_answers_with_an_older_revision_is_waited_for(
    bus: Bus, other: Bus
) -> None:
    answered: list[int] = []

    async def answer(_question: bytes, reply: str) -> None:
        answered.append(6 if len(answered) < 2 else 7)
        state = Follower(process="other", revision=answered[-1])
        await other.publish(reply, msgspec.msgpack.encode(state))

    await other.serve(subjects.FOLLOWED, answer)
    followers = Followers(bus)
    async with noting(followers, bus):
        await other.publish(subjects.PRESENT, msgspec.msgpack.encode(Follower(process="other")))
        await heard(other, bus)
        assert await followers.wait(7, FOREVER_S) == ()

    # On a slow machine, an answer may be late, and one more is needed.
    assert answered[:3] == [6, 6, 7]


async def test_a_process_that_ended_without_notice_is_named_and_waited_for_once(
    bus: Bus, store: Store, other: Bus
) -> None:
    killed, time = Follower(process="killed"), Time()
    followers = CountingFollowers(bus, time.now_s)
    async with noting(followers, bus), announced(other, store):
        await heard(other, bus)
        assert await followers.wait(0, FOREVER_S) == ()
        await other.publish(subjects.PRESENT, msgspec.msgpack.encode(killed))
        await heard(other, bus)
        before = followers.answers
        first = asyncio.create_task(followers.wait(0, FOREVER_S))
        while followers.answers == before:
            await asyncio.sleep(0)
        time.s += FOREVER_S

        assert await first == ("killed",)
        # Time stands still: nothing is waited for.
        assert await followers.wait(0, FOREVER_S) == ("killed",)
        time.s += FORGET_S
        assert await followers.wait(0, FOREVER_S) == ()


async def test_a_process_that_follows_after_it_was_waited_for_in_vain_is_not_named(
    bus: Bus, store: Store, other: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    followers = Followers(bus)
    async with noting(followers, bus), announced(other, store):
        await heard(other, bus)
        assert await followers.wait(store.revision + 1, 0) == ("other",)
        revision = await write(store, "first")
        await store.wait_revision(revision)
        monkeypatch.setattr("broker.dispatch.followers._LOOK_S", FOREVER_S)

        assert await followers.wait(revision, FOREVER_S) == ()


async def test_a_process_that_does_not_follow_says_so_while_it_is_asked(
    bus: Bus, store: Store, other: Bus
) -> None:
    question = msgspec.msgpack.encode(store.revision + 1)
    async with announced(other, store):
        answers = await bus.gather(
            subjects.FOLLOWED, question, FOREVER_S, is_last=lambda _answer: True
        )

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
    async with noting(followers, bus), announced(bus, store):
        async with announced(other, store):
            await heard(other, bus)
            assert await followers.wait(store.revision + 1, 0) == (bus.process_id, "other")
        await heard(other, bus)

        assert await followers.wait(store.revision + 1, 0) == (bus.process_id,)
