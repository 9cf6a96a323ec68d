"""Turns of two control processes on one NATS: what was checked still holds when it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker.bus import Bus
from broker.control import turn as turns
from broker.control.turn import Turn
from broker.control.writes import Stored, load
from broker.store import Store, open_store
from model.environment import Environment, EnvironmentData
from model.errors import EnvironmentNotFound, NatsUnavailable, RevisionConflict
from model.records import environment_key
from tests.support.nats import NatsServer

ONE, TWO = environment_key("one"), environment_key("two")


@pytest.fixture
async def other(own_nats_server: NatsServer, bus: Bus) -> AsyncIterator[Store]:
    async with (
        buses.connect(own_nats_server.url, process_id="two") as bus_,
        open_store(bus_) as store,
    ):
        yield store


def environment(name: str, number: int = 0) -> Environment:
    return Environment(name=name, data=EnvironmentData(vars={"number": number}))


async def test_of_two_changes_that_rule_each_other_out_one_is_made(
    store: Store, other: Store
) -> None:
    async def take(turn: Turn, mine: str, theirs: str, of: Store, name: str) -> bool:
        async def attempt() -> bool:
            if theirs in of.snapshot.environments:
                return False
            await asyncio.sleep(0)
            await turn.write(mine, environment(name), None)
            return True

        return await turn.take(attempt)

    one, two = Turn(store), Turn(other)
    for number in range(20):
        names = f"one-{number}", f"two-{number}"
        keys = [environment_key(each) for each in names]

        won = await asyncio.gather(
            take(one, keys[0], names[1], store, names[0]),
            take(two, keys[1], names[0], other, names[1]),
        )

        assert sorted(won) == [False, True]


async def test_no_change_is_lost(store: Store, other: Store) -> None:
    async def count(turn: Turn, of: Store) -> None:
        async def attempt() -> None:
            found = await load(of, ONE, Environment)
            number = int(str(found.object.data.vars["number"])) if found else 0
            await turn.write(ONE, environment("one", number + 1), found)

        for _ in range(20):
            await turn.take(attempt)

    await asyncio.gather(count(Turn(store), store), count(Turn(other), other))

    found = await load(store, ONE, Environment)
    assert found is not None
    assert found.object.data.vars["number"] == 40


async def test_an_attempt_that_is_overtaken_begins_anew_with_what_it_then_sees(
    store: Store, other: Store
) -> None:
    turn, seen = Turn(store), list[int]()

    async def attempt() -> Stored[Environment]:
        seen.append(len(store.snapshot.environments))
        if len(seen) == 1:
            await other.create(TWO, environment("two"))
        return await turn.write(ONE, environment("one"), await load(store, ONE, Environment))

    stored = await turn.take(attempt)

    assert seen == [0, 1]
    assert store.snapshot.environments.keys() == {"one", "two"}
    assert stored.revision == store.revision == store.snapshot.revision


async def test_several_writes_of_a_turn_follow_each_other(store: Store) -> None:
    turn, attempts = Turn(store), list[int]()

    async def attempt() -> None:
        attempts.append(1)
        await turn.write(ONE, environment("one"), None)
        assert "one" in store.snapshot.environments
        await turn.write(TWO, environment("two"), None)
        await turn.delete(ONE)
        assert "one" not in store.snapshot.environments
        await turn.write(ONE, environment("one", 1), None)

    await turn.take(attempt)

    assert len(attempts) == 1
    assert store.snapshot.environments["one"].data.vars == {"number": 1}


async def test_what_is_equal_is_not_written(store: Store) -> None:
    turn = Turn(store)
    await turn.take(lambda: turn.write(ONE, environment("one"), None))
    before, found = store.revision, await load(store, ONE, Environment)

    stored = await turn.take(lambda: turn.write(ONE, environment("one"), found))

    assert stored == found
    assert store.revision == before


async def test_who_is_overtaken_every_time_is_told(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", 0.1)
    turn, numbers = Turn(store), iter(range(1_000))

    async def attempt() -> None:
        name = f"two-{next(numbers)}"
        await other.create(environment_key(name), environment(name))
        await turn.write(ONE, environment("one"), None)

    with pytest.raises(RevisionConflict, match="try again"):
        await turn.take(attempt)
    assert next(numbers) > 1


async def test_whoever_hears_nothing_of_others_does_not_wait_for_ever(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SEEN_S", 0.05)
    turn = Turn(store)

    async def attempt() -> None:
        await other.create(TWO, environment("two"))
        monkeypatch.setattr(Store, "revision", 0)
        monkeypatch.setattr(Store, "wait_beyond", lambda *_: asyncio.Event().wait())
        await turn.write(ONE, environment("one"), None)

    with pytest.raises(NatsUnavailable, match="has not come here"):
        await turn.take(attempt)


async def test_nothing_is_refused_for_what_is_no_longer_so(store: Store, other: Store) -> None:
    turn = Turn(store)

    async def attempt() -> str:
        if "two" not in store.snapshot.environments:
            raise EnvironmentNotFound("there is no environment two")
        return "there it is"

    for _ in range(5):
        revision = await other.create(TWO, environment("two"))
        assert await turn.take(attempt) == "there it is"
        await other.delete(TWO, revision)
        await store.wait_beyond(revision)
    with pytest.raises(EnvironmentNotFound):
        await turn.take(attempt)
