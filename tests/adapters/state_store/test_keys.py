from __future__ import annotations

import re

from hypothesis import given
from nats.js.kv import VALID_KEY_RE

from adapters.state_store import keys
from tests.adapters.state_store.contract import KEYS, TEXTS


def matches(pattern: str, kv_key: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(">", ".+"), kv_key) is not None


@given(KEYS)
def test_any_key_round_trips_through_a_valid_nats_key(key: str) -> None:
    kv_key = keys.encode("shop", "orders", key)

    assert VALID_KEY_RE.fullmatch(kv_key)
    assert all(kv_key.split("."))
    assert keys.decode(kv_key) == key


@given(KEYS, KEYS)
def test_two_keys_never_share_an_entry(one: str, other: str) -> None:
    encoded = {keys.encode("shop", "orders", one), keys.encode("shop", "orders", other)}

    assert len(encoded) == len({one, other})


@given(TEXTS, TEXTS)
def test_the_pattern_of_a_prefix_matches_every_key_with_it(prefix: str, rest: str) -> None:
    key = prefix + rest or "a"

    pattern = keys.pattern("shop", "orders", prefix)

    assert matches(pattern, keys.encode("shop", "orders", key))


def test_the_server_finds_complete_segments_of_a_prefix() -> None:
    assert keys.pattern("shop", "orders", "") == "shop.orders.>"
    assert keys.pattern("shop", "orders", "20") == "shop.orders.>"
    assert keys.pattern("shop", "orders", "2024/0") == "shop.orders.2024.>"
    assert keys.pattern("shop", "orders", "2024/05/") == "shop.orders.2024.05.>"


def test_common_keys_stay_readable() -> None:
    assert keys.encode("shop", "orders", "2024/order_17-a") == "shop.orders.2024.order_17-a"
    assert keys.encode("shop", "orders", "a.b//ü") == "shop.orders.a=2Eb.=.=C3=BC"
