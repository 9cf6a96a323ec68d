"""When the pods of a version have ended is remembered as long as it matters."""

from __future__ import annotations

from broker.storage.ended_pods import REMEMBER_S, EndedPods
from kubefox.distill import Version

API, WEB = (Version("shop", name, "a" * 32) for name in ("api", "web"))


class Time:
    def __init__(self) -> None:
        self.s = 1000.0

    def now_s(self) -> float:
        return self.s


def test_the_end_of_a_pod_counts_for_its_version_only() -> None:
    time = Time()
    ended = EndedPods(time.now_s)

    time.s += 1
    ended.note(API)

    assert (ended.since_us(API), ended.since_us(WEB)) == (1_001_000_000, 1_000_000_000)


def test_an_end_of_long_ago_counts_for_all_versions() -> None:
    time = Time()
    ended = EndedPods(time.now_s)
    time.s += 1
    ended.note(API)

    time.s += REMEMBER_S + 1
    ended.note(WEB)

    assert ended.since_us(API) == 1_001_000_000
    assert ended.since_us(Version("shop", "other", "a" * 32)) == 1_001_000_000
