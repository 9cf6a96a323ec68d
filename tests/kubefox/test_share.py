"""Tokens of shares: nobody can alter them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.derived_key import derived_key
from kubefox.errors import InvalidEvent
from kubefox.share import MAX_TOKEN, PURPOSE, Claims, sign, verified

KEY, OTHER = (derived_key(bytes([at]) * 32, PURPOSE) for at in (1, 2))
CLAIMS = Claims("4f2a", "shop-v2", "qa", 1_800_000_000, "shop.example")
TOKEN = sign(CLAIMS, KEY)


def test_a_token_has_what_was_signed() -> None:
    assert verified(TOKEN, [KEY]) == CLAIMS


def test_a_token_of_a_rotated_key_is_valid_while_the_key_is_kept() -> None:
    assert verified(TOKEN, [OTHER, KEY]) == CLAIMS
    with pytest.raises(InvalidEvent):
        verified(TOKEN, [OTHER])


def test_a_token_without_keys_is_not_valid() -> None:
    with pytest.raises(InvalidEvent):
        verified(TOKEN, [])


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_no_character_of_a_token_can_be_altered(position: int) -> None:
    other = "B" if TOKEN[position] == "A" else "A"

    with pytest.raises(InvalidEvent):
        verified(TOKEN[:position] + other + TOKEN[position + 1 :], [KEY])


@given(st.text(max_size=200))
def test_any_other_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidEvent):
        verified(text, [KEY])


def test_texts_that_stand_for_the_same_bytes_are_no_tokens() -> None:
    for text in (f"{TOKEN}=", f" {TOKEN}", TOKEN.replace("-", "+").replace("_", "/") + "="):
        with pytest.raises(InvalidEvent):
            verified(text, [KEY])
    with pytest.raises(InvalidEvent):
        verified("A" * (MAX_TOKEN + 1), [KEY])


def test_keys_of_purposes_are_those_of_rfc_5869() -> None:
    # Test case 3 of RFC 5869: no salt; its information is empty.
    key = derived_key(b"\x0b" * 22, "")

    assert key.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derived_key(b"\x0b" * 22, "a") != derived_key(b"\x0b" * 22, "b")
