"""Transactions of two control processes on one NATS."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator

import pytest

from broker.nats.bus import Bus
from broker.nats.entry_buffer import WatchedEntry
from broker.storage.store import Store, open_store
from control.stored_record import StoredRecord, load
from control.transactions import OptimisticTransaction, precondition
from kubefox.environment import Environment, EnvironmentData
from kubefox.errors import EnvironmentNotFound, MissingRole, NatsUnavailable, RevisionConflict
from kubefox.records import environment_key
from tests.support.connecting import connect
from tests.support.keys import KEYS
from tests.support.nats import NatsServer

FOREVER_S = 60
ONE, TWO = environment_key("one"), environment_key("two")


@pytest.fixture
async def other(own_nats_server: NatsServer, bus: Bus) -> AsyncIterator[Store]:
    async with (
        connect(own_nats_server.url, process_id="two") as bus_,
        open_store(bus_, KEYS, creates_keys=True) as store,
    ):
        yield store


def environment(name: str, number: int = 0) -> Environment:
    return Environment(name=name, data=EnvironmentData(vars={"number": number}))


async def test_of_two_conflicting_transactions_one_succeeds(store: Store, other: Store) -> None:
    async def create_unless(
        transaction: OptimisticTransaction, key: str, excluded: str, of: Store, name: str
    ) -> bool:
        async def attempt() -> bool:
            if excluded in of.snapshot.environments:
                return False
            await asyncio.sleep(0)
            await transaction.write(key, environment(name), None)
            return True

        return await transaction.run(attempt)

    one, two = OptimisticTransaction(store), OptimisticTransaction(other)
    for number in range(20):
        names = f"one-{number}", f"two-{number}"
        keys = [environment_key(name) for name in names]

        won = await asyncio.gather(
            create_unless(one, keys[0], names[1], store, names[0]),
            create_unless(two, keys[1], names[0], other, names[1]),
        )

        assert sorted(won) == [False, True]


async def test_concurrent_transactions_lose_no_update(store: Store, other: Store) -> None:
    async def count(transaction: OptimisticTransaction, of: Store) -> None:
        async def attempt() -> None:
            found = await load(of, ONE, Environment)
            number = int(str(found.object.data.vars["number"])) if found else 0
            await transaction.write(ONE, environment("one", number + 1), found)

        for _ in range(20):
            await transaction.run(attempt)

    await asyncio.gather(
        count(OptimisticTransaction(store), store), count(OptimisticTransaction(other), other)
    )

    found = await load(store, ONE, Environment)
    assert found is not None
    assert found.object.data.vars["number"] == 40


async def test_an_attempt_runs_again_on_the_newer_data_after_a_write_conflict(
    store: Store, other: Store
) -> None:
    transaction, seen = OptimisticTransaction(store), list[int]()

    async def attempt() -> StoredRecord[Environment]:
        seen.append(len(store.snapshot.environments))
        if len(seen) == 1:
            await other.create(TWO, environment("two"))
        return await transaction.write(ONE, environment("one"), await load(store, ONE, Environment))

    stored = await transaction.run(attempt)

    assert seen == [0, 1]
    assert store.snapshot.environments.keys() == {"one", "two"}
    assert stored.revision == store.revision == store.snapshot.revision


async def test_a_transaction_may_write_several_records(store: Store) -> None:
    transaction, attempts = OptimisticTransaction(store), list[int]()

    async def attempt() -> None:
        attempts.append(1)
        await transaction.write(ONE, environment("one"), None)
        assert "one" in store.snapshot.environments
        await transaction.write(TWO, environment("two"), None)
        await transaction.delete(ONE)
        assert "one" not in store.snapshot.environments
        await transaction.write(ONE, environment("one", 1), None)

    await transaction.run(attempt)

    assert len(attempts) == 1
    assert store.snapshot.environments["one"].data.vars == {"number": 1}


async def test_equal_content_is_not_written(store: Store) -> None:
    transaction = OptimisticTransaction(store)
    await transaction.run(lambda: transaction.write(ONE, environment("one"), None))
    before, found = store.revision, await load(store, ONE, Environment)

    stored = await transaction.run(lambda: transaction.write(ONE, environment("one"), found))

    assert stored == found
    assert store.revision == before


async def test_a_transaction_that_always_conflicts_fails_after_its_timeout(
    store: Store, other: Store
) -> None:
    transaction, numbers = OptimisticTransaction(store, timeout_s=0.1), iter(range(1_000))

    async def attempt() -> None:
        name = f"two-{next(numbers)}"
        await other.create(environment_key(name), environment(name))
        await transaction.write(ONE, environment("one"), None)

    with pytest.raises(RevisionConflict, match="retry"):
        await transaction.run(attempt)
    assert next(numbers) > 0


async def test_a_transaction_fails_when_the_local_snapshot_stays_behind(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = OptimisticTransaction(store, sync_timeout_s=0.05)

    async def attempt() -> None:
        await other.create(TWO, environment("two"))
        monkeypatch.setattr(Store, "revision", 0)
        monkeypatch.setattr(Store, "wait_beyond", lambda *_: asyncio.Event().wait())
        await transaction.write(ONE, environment("one"), None)

    with pytest.raises(NatsUnavailable, match="local snapshot is behind"):
        await transaction.run(attempt)


async def test_the_time_in_which_a_change_is_applied_does_not_count(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, looks = Store.apply, list[bool]()
    has_arrived, may_apply = asyncio.Event(), asyncio.Event()
    transaction = OptimisticTransaction(store, sync_timeout_s=0.03)

    async def apply_slowly(self: Store, entry: WatchedEntry) -> None:
        has_arrived.set()
        await may_apply.wait()
        await apply(self, entry)

    def look(self: Store) -> bool:
        if not has_arrived.is_set():
            return True  # the change takes long to arrive on a slow machine
        looks.append(self._watch.is_applying)
        if len(looks) == 2:
            transaction._sync_timeout_s = FOREVER_S
            may_apply.set()
        return looks[-1]

    monkeypatch.setattr(Store, "apply", apply_slowly)
    monkeypatch.setattr(Store, "is_applying", property(look))

    await transaction.run(lambda: transaction.write(ONE, environment("one"), None))

    assert looks == [True, True]
    assert "one" in store.snapshot.environments


async def test_an_error_caused_by_old_data_is_not_raised(store: Store, other: Store) -> None:
    transaction = OptimisticTransaction(store)

    async def attempt() -> str:
        if "two" not in store.snapshot.environments:
            raise EnvironmentNotFound("there is no environment two")
        return "there it is"

    for _ in range(5):
        revision = await other.create(TWO, environment("two"))
        assert await transaction.run(attempt) == "there it is"
        await other.delete(TWO, revision)
        await store.wait_beyond(revision)
    with pytest.raises(EnvironmentNotFound):
        await transaction.run(attempt)


async def test_a_right_that_ends_before_the_write_refuses_the_change(
    store: Store, other: Store
) -> None:
    transaction, attempts = OptimisticTransaction(store), 0

    async def right() -> None:
        if "one" in store.snapshot.environments:
            raise MissingRole("one is not yours")

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await other.create(ONE, environment("one"))
        await transaction.write(TWO, environment("two"), None)

    context = contextvars.copy_context()
    context.run(precondition.set, right)
    with pytest.raises(MissingRole):
        await asyncio.create_task(transaction.run(attempt), context=context)

    assert attempts == 1
    assert await store.get(TWO) is None
