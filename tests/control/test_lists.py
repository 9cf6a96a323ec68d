"""Lists of the control plane: filters of each kind, changes, and two control processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from broker.nats.entry_buffer import WatchedEntry
from control.listed_kinds.deployments import DeploymentsQuery
from control.listed_kinds.environments import VirtualEnvironmentsQuery
from control.listed_kinds.releases import ReleasesQuery, ReleaseStatus
from control.listed_kinds.versions import PodsQuery, VersionsQuery
from control.listing.list_kind import ListQuery
from control.listing.listing import Listing
from control.listing.page import Object, Page
from control.rollouts import StoredDeployment
from control.stored_record import StoredRecord
from kubefox.environment import Environment, PolicyType, ReleasePolicy, VirtualEnvironment
from kubefox.errors import ContinueExpired, NotFound
from kubefox.pod import IdleVersion, PodPhase, PodStatus
from kubefox.release import ReleaseState
from kubefox.rollout import DeploymentState
from kubefox.scaling import VersionScale
from tests.support.control_plane import Plane, component, listed, open_plane, pods_of
from tests.support.nats import NatsServer

API, API_V2 = component("api-server"), component("api-server", "v2")
UI = component("order-ui", calls=["api-server"])
OTHER = component("web", app="other")


async def page_of(
    listing: Listing[Any], kind: type[Object], query: ListQuery, token: str = ""
) -> Page[Object]:
    """Return one page of a list."""
    page = await listing.page(msgspec.structs.replace(query, continue_=token))
    return msgspec.json.decode(page.body, type=Page[kind])  # type: ignore[valid-type]


async def names(plane: Plane, query: ListQuery) -> list[str]:
    """Return the names of the listed deployments."""
    found = await listed(plane.control.lists.deployments, StoredDeployment, query)
    return [stored.object.name for stored in found]


async def test_pages_of_deployments_show_one_revision_while_deployments_change(
    plane: Plane,
) -> None:
    lists = plane.control.lists
    for number in range(6):
        await plane.deploy(f"main-{number}", API)

    first = await page_of(lists.deployments, StoredDeployment, DeploymentsQuery(limit=2))
    await plane.control.deployments.undeploy("main-3")
    await plane.deploy("main-2a", UI, API)
    second = await page_of(
        lists.deployments, StoredDeployment, DeploymentsQuery(limit=4), first.continue_
    )

    found = [stored.object.name for stored in (*first.items, *second.items)]
    assert found == [f"main-{number}" for number in range(6)]
    assert (second.revision, second.continue_) == (first.revision, "")
    assert await names(plane, DeploymentsQuery()) == [
        "main-0",
        "main-1",
        "main-2",
        "main-2a",
        "main-4",
        "main-5",
    ]


async def test_the_first_list_need_not_sort_prepared_deployments(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.deploy("main", API)
    await plane.control.lists.prepare()
    monkeypatch.delattr("control.listing.live_index.sort_in_slices")

    assert await names(plane, DeploymentsQuery()) == ["main"]


async def test_deployments_are_filtered_and_sorted(plane: Plane) -> None:
    await plane.deploy("b-main", API)
    await plane.deploy("a-main", API_V2, UI)
    await plane.deploy("c-other", OTHER)
    await plane.publish(*pods_of(API))

    assert await names(plane, DeploymentsQuery(app="order-app")) == ["a-main", "b-main"]
    assert await names(plane, DeploymentsQuery(sort="-created")) == ["c-other", "a-main", "b-main"]
    assert await names(plane, DeploymentsQuery(component="order-ui")) == ["a-main"]
    assert await names(plane, DeploymentsQuery(name_prefix="c-")) == ["c-other"]
    assert await names(plane, DeploymentsQuery(state=DeploymentState.READY)) == ["b-main"]
    assert await names(plane, DeploymentsQuery(app="nope")) == []


async def test_pods_and_idle_versions_are_those_of_a_deployment(plane: Plane) -> None:
    lists = plane.control.lists
    await plane.deploy("main", API, UI)
    await plane.deploy("other", OTHER)
    api, _, ui, _ = pods = pods_of(API, API_V2, UI, OTHER)
    await plane.publish(*pods)
    idle = [IdleVersion(app=version.app, component="idle", hash="1" * 32) for version in (API,)]
    for version in idle:
        await plane.control.board.publish(version)
    await plane.wait_board(lambda: plane.control.board.idle_versions == tuple(idle))

    of_main = await listed(lists.pods, PodStatus, PodsQuery(deployment="main"))
    of_nothing = await listed(lists.pods, PodStatus, PodsQuery(deployment="nope"))

    assert of_main == [api, ui]
    assert of_nothing == []
    assert await listed(lists.pods, PodStatus, PodsQuery(deployment="main", sort="-name")) == [
        ui,
        api,
    ]
    assert await listed(lists.idle_versions, IdleVersion, VersionsQuery(deployment="main")) == []
    assert await listed(lists.idle_versions, IdleVersion, VersionsQuery(component="idle")) == idle
    scales = await listed(lists.scales, VersionScale, VersionsQuery(deployment="main"))
    assert [(scale.component, scale.pods) for scale in scales] == [
        ("api-server", 1),
        ("order-ui", 1),
    ]


async def test_pods_are_filtered_and_found_by_their_ids(plane: Plane) -> None:
    lists = plane.control.lists
    api, ui = pods_of(API, UI)
    starting = msgspec.structs.replace(api, id="api-server-x2", phase=PodPhase.STARTING)
    await plane.publish(api, ui, starting)

    assert await lists.pod(ui.id) == ui
    with pytest.raises(NotFound, match="pod order does not exist"):
        await lists.pod("order")
    ready = await listed(lists.pods, PodStatus, PodsQuery(phase=PodPhase.READY))
    assert ready == [api, ui]
    assert await listed(lists.pods, PodStatus, PodsQuery(name_prefix="order")) == [ui]

    await plane.control.board.remove(api.key)
    await plane.wait_board(lambda: api not in plane.control.board.statuses)
    assert await listed(lists.pods, PodStatus, PodsQuery(sort="name")) == [starting, ui]


async def test_a_scale_is_listed_while_a_deployment_or_a_pod_uses_the_version(
    plane: Plane,
) -> None:
    async def versions() -> list[str]:
        found = await listed(plane.control.lists.scales, VersionScale)
        return [scale.component for scale in found]

    assert await versions() == []
    await plane.deploy("main", API)
    (pod,) = pods_of(API)
    await plane.publish(pod)
    await plane.control.deployments.undeploy("main")
    assert await versions() == ["api-server"]

    await plane.control.board.remove(pod.key)
    await plane.wait_board(lambda: not plane.control.board.statuses)
    assert await versions() == []


async def test_releases_are_filtered(plane: Plane) -> None:
    await plane.environments("team-a", "team-b", "team-c", policy=PolicyType.TESTING)
    testing = ReleasePolicy(type=PolicyType.TESTING)
    await plane.control.environments.put(Environment(name="prod", release_policy=testing))
    await plane.control.environments.put(VirtualEnvironment(name="live", environment="prod"))
    await plane.deploy("main", API)
    await plane.deploy("other", OTHER)
    await plane.publish(*pods_of(API))
    for name in ("team-a", "team-c", "live"):
        await plane.control.releases.request(name, "main")
    await plane.control.releases.request("team-b", "other")

    async def found(query: ReleasesQuery) -> list[str]:
        states = await listed(plane.control.lists.releases, StoredRecord[ReleaseState], query)
        return [stored.object.virtual_environment for stored in states]

    assert await found(ReleasesQuery()) == ["live", "team-a", "team-b", "team-c"]
    assert await found(ReleasesQuery(deployment="main")) == ["live", "team-a", "team-c"]
    assert await found(ReleasesQuery(deployment="main", sort="-name")) == [
        "team-c",
        "team-a",
        "live",
    ]
    assert await found(ReleasesQuery(app="other")) == ["team-b"]
    assert await found(ReleasesQuery(environment="prod")) == ["live"]
    assert await found(ReleasesQuery(status=ReleaseStatus.PENDING)) == ["team-b"]
    of_dev = VirtualEnvironmentsQuery(environment="dev", sort="-environment")
    members = await listed(
        plane.control.lists.virtual_environments, StoredRecord[VirtualEnvironment], of_dev
    )
    assert [stored.object.name for stored in members] == ["team-c", "team-b", "team-a"]


async def test_pages_of_the_releases_of_a_deployment_show_one_revision(plane: Plane) -> None:
    await plane.environments("team-a", "team-b", "team-c", policy=PolicyType.TESTING)
    await plane.deploy("main", API)
    await plane.publish(*pods_of(API))
    for name in ("team-a", "team-b"):
        await plane.control.releases.request(name, "main")
    query = ReleasesQuery(deployment="main", limit=1)
    kind = StoredRecord[ReleaseState]

    first = await page_of(plane.control.lists.releases, kind, query)
    await plane.control.releases.request("team-c", "main")
    second = await page_of(plane.control.lists.releases, kind, query, first.continue_)

    found = [stored.object.virtual_environment for stored in (*first.items, *second.items)]
    assert (found, second.continue_) == (["team-a", "team-b"], "")


async def test_secrets_in_lists_are_masked(plane: Plane) -> None:
    await plane.environments("team-a")

    page = await plane.control.lists.virtual_environments.page(VirtualEnvironmentsQuery())

    assert b"of-team-a" not in page.body


async def test_another_control_process_continues_a_list_or_says_that_it_cannot(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    for number in range(3):
        await plane.deploy(f"main-{number}", API)
    query = DeploymentsQuery(limit=2)
    first = await page_of(plane.control.lists.deployments, StoredDeployment, query)

    async with open_plane(own_nats_server.url, "control-2") as other:
        deployments = other.control.lists.deployments
        second = await page_of(deployments, StoredDeployment, query, first.continue_)
        await plane.deploy("main-9", API)
        await other.wait_data(lambda: "main-9" in other.store.snapshot.deployments)
        with pytest.raises(ContinueExpired) as raised:
            await page_of(deployments, StoredDeployment, query, first.continue_)
        rest = await page_of(deployments, StoredDeployment, query, raised.value.restart)

    assert [stored.object.name for stored in second.items] == ["main-2"]
    assert [stored.object.name for stored in rest.items] == ["main-2", "main-9"]


async def no_entries() -> AsyncIterator[list[WatchedEntry]]:
    """Yield what a watch finds in an empty bucket."""
    nothing: tuple[list[WatchedEntry], ...] = ()
    for entries in nothing:
        yield entries


async def test_lists_follow_a_bucket_that_was_read_again(plane: Plane) -> None:
    lists = plane.control.lists
    await plane.deploy("main", API)
    await plane.publish(*pods_of(API))
    before = await names(plane, DeploymentsQuery())
    await listed(lists.pods, PodStatus)
    await listed(lists.scales, VersionScale)

    await plane.store.replace(no_entries())
    await plane.control.board.replace(no_entries())

    assert before == ["main"]
    assert await names(plane, DeploymentsQuery()) == []
    assert await listed(lists.pods, PodStatus) == []
    assert await listed(lists.scales, VersionScale) == []
