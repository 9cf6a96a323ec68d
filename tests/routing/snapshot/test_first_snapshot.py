"""The first snapshot of a process is made with little work for each of many releases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from routing.snapshot import content_rules
from routing.snapshot.packed_records import DeploymentPacking, StructPacking
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import usage_of
from tests.routing.world import UI, RoutingWorld, ask, definition

RELEASES = 20


def world_of_releases() -> RoutingWorld:
    """Return a world in which two deployments are released in ten virtual environments each."""
    world = RoutingWorld()
    world.environment("dev")
    for version in ("1", "2"):
        world.deploy(f"v{version}", UI, definition("worker"), version=version)
    for number in range(RELEASES):
        world.virtual(f"pr-{number}", subPath=f"pr-{number}")
        world.release(f"pr-{number}", f"v{1 + number % 2}", release_id=f"r{number}")
    return world


def test_equal_components_are_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = world_of_releases().changes
    resolved: Counter[str] = Counter()
    definitions_of = content_rules.definitions_of

    def counted(deployment, records):  # type: ignore[no-untyped-def]
        resolved[deployment.components["order-ui"]] += 1
        return definitions_of(deployment, records)

    monkeypatch.setattr(content_rules, "definitions_of", counted)

    snapshot = Snapshot.empty().apply(changes)

    assert len(snapshot.release_index.active_releases) == RELEASES
    assert sorted(resolved.values()) == [1, 1]


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The packed records that are converted to their type, one after another."""
    found: list[object] = []
    for packing in (StructPacking, DeploymentPacking):
        monkeypatch.setattr(packing, "unpack", recorded(packing.unpack, found))
    return found


def recorded(unpack: Callable[..., Any], found: list[object]) -> Callable[..., Any]:
    """Return ``unpack`` so that it adds what it converts to ``found``."""

    def recording(packing: object, content: object, shared: object) -> Any:
        found.append(content)
        return unpack(packing, content, shared)

    return recording


def test_no_live_release_is_converted_to_its_record(converted: list[object]) -> None:
    changes = world_of_releases().changes
    converted.clear()

    snapshot = Snapshot.empty(has_labels=False).apply(changes)

    assert converted == []
    assert ask(snapshot, "/pr-7/orders/1").target is not None
    assert len(converted) > 0


def test_the_usage_of_live_releases_is_found_without_their_records(
    converted: list[object],
) -> None:
    snapshot = Snapshot.empty().apply(world_of_releases().changes)
    converted.clear()

    usage = usage_of(snapshot)

    assert converted == []
    assert len(usage.release_users("v1")) == RELEASES / 2


def test_a_name_is_looked_up_without_its_record(converted: list[object]) -> None:
    snapshot = Snapshot.empty().apply(world_of_releases().changes)
    converted.clear()

    found = ["pr-1" in snapshot.virtual_environments, "other" in snapshot.virtual_environments]

    assert found == [True, False]
    assert converted == []


def test_a_component_version_that_comes_later_completes_all_its_releases() -> None:
    changes = world_of_releases().changes
    late = [change for change in changes if change.key.startswith("component.order-app.order-ui")]
    snapshot = Snapshot.empty().apply(change for change in changes if change not in late)
    assert len(snapshot.release_index.incomplete) == RELEASES

    snapshot = snapshot.apply(late)

    assert not snapshot.release_index.incomplete
    answered = [ask(snapshot, f"/pr-{number}/orders/1").target for number in range(RELEASES)]
    assert None not in answered
