"""The contract of a state store: the one on NATS and the one in memory fulfil it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fox.kit.state_store import Caller, StateStore
from kubefox.errors import BodyTooLarge, InvalidRequest, RevisionConflict
from kubefox.state_store import MAX_KEY_BYTES, MAX_VALUE_BYTES

# Pieces, because st.text() draws from one alphabet, in which "/" would be rare.
PIECES = st.sampled_from("/.=*> %?#~aé😀\0") | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
TEXTS = st.lists(PIECES, max_size=10).map("".join)
KEYS = TEXTS.filter(bool)
VALUES = st.binary(max_size=200)
# All examples of a test use one server and one store, and each uses its own keys.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class StateStoreContract:
    """Subclasses have a fixture ``caller``."""

    @pytest.fixture
    def orders(self) -> StateStore:
        return StateStore("orders")

    async def test_a_missing_key_is_none_and_not_listed(
        self, orders: StateStore, caller: Caller
    ) -> None:
        assert await orders.get("1", ctx=caller) is None
        assert await orders.list(ctx=caller) == []

    @SHARED
    @given(key=KEYS, value=VALUES)
    async def test_any_key_and_value_are_stored_unchanged(
        self, orders: StateStore, caller: Caller, key: str, value: bytes
    ) -> None:
        revision = await orders.put(key, value, ctx=caller)

        entry = await orders.get(key, ctx=caller)

        assert entry is not None
        assert (entry.key, entry.value, entry.revision) == (key, value, revision)
        assert entry in await orders.list(key, ctx=caller)
        await orders.delete(key, ctx=caller)
        assert await orders.get(key, ctx=caller) is None

    @SHARED
    @given(keys=st.sets(KEYS, max_size=8), prefix=TEXTS)
    async def test_a_list_holds_exactly_the_keys_with_the_prefix_sorted(
        self, orders: StateStore, caller: Caller, keys: set[str], prefix: str
    ) -> None:
        keys |= {prefix + key for key in keys}
        for key in keys:
            await orders.put(key, key, ctx=caller)

        found = await orders.list(prefix, ctx=caller)

        assert [entry.key for entry in found] == sorted(k for k in keys if k.startswith(prefix))
        assert all(entry.text == entry.key for entry in found)
        for key in keys:
            await orders.delete(key, ctx=caller)

    async def test_text_and_json_round_trip(self, orders: StateStore, caller: Caller) -> None:
        await orders.put("text", "Grüße", ctx=caller)
        await orders.put("json", {"item": "tea", "count": 2}, ctx=caller)

        text = await orders.get("text", ctx=caller)
        json = await orders.get("json", ctx=caller)

        assert text is not None
        assert text.text == "Grüße"
        assert json is not None
        assert json.json() == {"item": "tea", "count": 2}
        assert json.json(dict[str, str | int])["item"] == "tea"

    async def test_of_writers_with_the_same_revision_one_wins(
        self, orders: StateStore, caller: Caller
    ) -> None:
        revision = await orders.put("1", "placed", ctx=caller)

        async def write(value: str) -> bool:
            try:
                await orders.put("1", value, ctx=caller, revision=revision)
            except RevisionConflict:
                return False
            return True

        won = await asyncio.gather(*(write(f"packed {number}") for number in range(10)))

        assert won.count(True) == 1
        entry = await orders.get("1", ctx=caller)
        assert entry is not None
        assert entry.text == f"packed {won.index(True)}"

    async def test_revision_zero_creates_only(self, orders: StateStore, caller: Caller) -> None:
        await orders.put("1", "first", ctx=caller, revision=0)
        with pytest.raises(RevisionConflict):
            await orders.put("1", "second", ctx=caller, revision=0)

        await orders.delete("1", ctx=caller)

        await orders.put("1", "third", ctx=caller, revision=0)

    async def test_a_deletion_with_an_old_revision_is_a_conflict(
        self, orders: StateStore, caller: Caller
    ) -> None:
        old = await orders.put("1", "placed", ctx=caller)
        new = await orders.put("1", "packed", ctx=caller)

        with pytest.raises(RevisionConflict):
            await orders.delete("1", ctx=caller, revision=old)
        await orders.delete("1", ctx=caller, revision=new)

        with pytest.raises(RevisionConflict):
            await orders.put("1", "shipped", ctx=caller, revision=new)
        await orders.delete("1", ctx=caller)

    async def test_stores_with_different_names_have_separate_entries(
        self, orders: StateStore, caller: Caller
    ) -> None:
        await orders.put("1", "order", ctx=caller)

        assert await StateStore("reviews").list(ctx=caller) == []
        assert await StateStore("reviews").get("1", ctx=caller) is None

    async def test_a_list_of_many_pages_is_complete(
        self, orders: StateStore, caller: Caller
    ) -> None:
        expected = [f"order/{number:03}" for number in range(300)]
        await asyncio.gather(*(orders.put(key, "x", ctx=caller) for key in expected))
        await orders.put("other", "x", ctx=caller)

        found = await orders.list("order/", ctx=caller)

        assert [entry.key for entry in found] == expected

    async def test_large_values_are_returned_by_get_and_by_list(
        self, orders: StateStore, caller: Caller
    ) -> None:
        value = b"x" * MAX_VALUE_BYTES
        keys = [f"{number}/".ljust(MAX_KEY_BYTES, "k") for number in range(4)]
        for key in keys:
            await orders.put(key, value, ctx=caller)

        found = await orders.list(ctx=caller)

        assert [entry.key for entry in found] == keys
        assert all(entry.value == value for entry in found)

    async def test_a_value_over_the_limit_is_refused_with_the_limit(
        self, orders: StateStore, caller: Caller
    ) -> None:
        with pytest.raises(BodyTooLarge, match=str(MAX_VALUE_BYTES)):
            await orders.put("1", b"x" * (MAX_VALUE_BYTES + 1), ctx=caller)

        assert await orders.get("1", ctx=caller) is None

    async def test_the_longest_key_of_multibyte_text_is_stored(
        self, orders: StateStore, caller: Caller
    ) -> None:
        key = "😀" * (MAX_KEY_BYTES // 4)

        await orders.put(key, "x", ctx=caller)

        assert [entry.key for entry in await orders.list(key, ctx=caller)] == [key]

    @pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_BYTES + 1), "\ud800"])
    async def test_an_invalid_key_is_refused(
        self, orders: StateStore, caller: Caller, key: str
    ) -> None:
        with pytest.raises(InvalidRequest):
            await orders.get(key, ctx=caller)
        with pytest.raises(InvalidRequest):
            await orders.put(key, "x", ctx=caller)

    @pytest.mark.parametrize(
        ("method", "path", "query", "if_match"),
        [
            ("POST", "/orders/1", "", None),
            ("PUT", "/orders", "", None),
            ("GET", "/Not-A-Name/1", "", None),
            ("GET", "/", "", None),
            ("GET", "/orders/", "", None),
            ("GET", "/orders/%ff", "", None),
            ("GET", "/orders", "after=x", None),
            ("GET", "/orders", "prefix=" + "k" * (MAX_KEY_BYTES + 1), None),
            ("PUT", "/orders/1", "", "-1"),
            ("PUT", "/orders/1", "", "1" * 30),
            ("DELETE", "/orders/1", "", "*"),
        ],
    )
    async def test_an_invalid_request_is_refused(
        self, caller: Caller, method: str, path: str, query: str, if_match: str | None
    ) -> None:
        headers = (("if-match", if_match),) if if_match else ()

        with pytest.raises(InvalidRequest):
            await caller.request("state-store", method, path, query=query, headers=headers)
