"""Verified shares: found without a further check of the token, while their key is known."""

from __future__ import annotations

import pytest

from kubefox.records import Change, share_key
from kubefox.share import Share, claims_of, sign
from routing.shares import Shares, host_name
from routing.snapshot.records import Records
from routing.snapshot.snapshot import Snapshot

KEY = b"k" * 32
SHARE = Share(
    name="4f2a", deployment="v2", virtual_environment="qa", expires_at_s=100, created_at_s=1
)
TOKEN = sign(claims_of(SHARE), KEY)


def records(*shares: Share) -> Records:
    changes = [
        Change(key=share_key(share.name), revision=at, record=share)
        for at, share in enumerate(shares, 1)
    ]
    return Snapshot.empty().apply(changes).records


def test_a_token_is_verified_once_however_many_shares_there_are() -> None:
    others = (
        Share(
            name=f"{at}", deployment="v2", virtual_environment="qa", expires_at_s=9, created_at_s=1
        )
        for at in range(500)
    )
    asked: list[int] = []

    def keys() -> list[bytes]:
        asked.append(1)
        return [KEY]

    shares, all_records = Shares(keys), records(SHARE, *others)
    found = [shares.find(TOKEN, "x", all_records, now_s=50) for _ in range(3)]

    assert found[0] is not None
    assert found[0] is found[1] is found[2]
    assert len(asked) == 1


def test_a_share_ends_on_the_second() -> None:
    shares, all_records = Shares(lambda: [KEY]), records(SHARE)

    assert shares.find(TOKEN, "x", all_records, now_s=99.9) is not None
    assert shares.find(TOKEN, "x", all_records, now_s=100) is None


def test_the_share_of_a_removed_key_is_refused() -> None:
    known = [b"new" * 11, KEY]
    shares, all_records = Shares(lambda: known), records(SHARE)
    assert shares.find(TOKEN, "x", all_records, now_s=50) is not None

    known.pop()
    shares.forget()

    assert shares.find(TOKEN, "x", all_records, now_s=50) is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Shop.Example:8080", "shop.example"),
        ("shop.example.", "shop.example"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("", ""),
    ],
)
def test_a_host_is_compared_by_its_name(host: str, name: str) -> None:
    assert host_name(host) == name
