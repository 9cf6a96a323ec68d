"""Users of component versions are counted by contents, and a content is looked up once."""

from __future__ import annotations

from immutables import Map

from kubefox.deployment import Deployment
from routing.snapshot import use_counts
from routing.snapshot.packed_records import SharedContent
from routing.snapshot.use_counts import UseCounts


def content(*components: str) -> SharedContent:
    hashes = dict.fromkeys(components, "0" * 32)
    return SharedContent(Deployment(name="v1", app="shop", components=hashes))


def test_equal_contents_are_looked_up_once() -> None:
    looked_up: list[SharedContent] = []

    def keys_of(found: SharedContent) -> list[str]:
        looked_up.append(found)
        return list(found.components)

    ui, both = content("ui"), content("ui", "api")
    counts = UseCounts(Map({"ui": 1}), keys_of)

    for _ in range(1_000):
        counts.add(ui, 1)
        counts.add(both, 1)
    counts.add(both, -1)

    assert counts.finish() == Map({"ui": 2_000, "api": 999})
    assert looked_up == [ui, both]


def test_a_version_without_users_is_forgotten() -> None:
    counts = UseCounts(Map({"ui": 1, "api": 2}), lambda found: found.components)

    counts.add(content("ui", "api"), -1)

    assert counts.finish() == Map({"api": 1})


def test_the_counts_of_many_contents_are_taken_over_in_between() -> None:
    counts: UseCounts[str] = UseCounts(Map(), lambda found: found.components)

    for number in range(1_000):
        counts.add(content(f"c{number}"), 1)
        assert len(counts._steps) <= use_counts._MAX_CONTENTS

    assert len(counts.finish()) == 1_000
