"""Components, deployments and helpers for the tests of releases."""

from __future__ import annotations

from kubefox.component import ComponentVersion
from kubefox.environment import PolicyType
from kubefox.release import ReleaseState
from tests.support.control_plane import Plane, component, pods_of

RULE = "Path(`/{{.Vars.subPath}}/orders`)"
UI = component("order-ui", routes=[RULE], calls=["api-server"])
API = component("api-server")
API_V2 = component("api-server", "v2")
SHOP = component("shop-ui", app="shop", routes=["Path(`/{{.Vars.subPath}}/shop`)"])


async def deploy_apps(plane: Plane, *names: str, policy: PolicyType = PolicyType.STABLE) -> None:
    """Deploy two versions of one app and one of another, with ready pods, and environments."""
    await plane.environments(*(names or ("team-a",)), policy=policy)
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await plane.deploy("order-app-v2", UI, API_V2, version="v2")
    await plane.deploy("shop-v1", SHOP, version="v1")
    await plane.publish(*pods_of(UI, API, API_V2, SHOP))


def active_of(plane: Plane, name: str = "team-a") -> dict[str, str]:
    """Return the deployment of each app in the active release."""
    active = plane.control.releases.get(name).object.active
    return {app: released.deployment for app, released in active.apps.items()} if active else {}


def manifests_of(plane: Plane, name: str = "team-a") -> set[str]:
    """Return the ids of the stored manifests of a virtual environment."""
    keys = (key.split(".") for key in plane.store.snapshot.records.manifests)
    return {release for owner, release in keys if owner == name}


async def wait_state(plane: Plane, name: str = "team-a", *, pending: bool) -> ReleaseState:
    """Return the releases as soon as one is pending, or none."""

    def is_reached() -> bool:
        state = plane.store.snapshot.releases.get(name)
        return state is not None and (state.pending is not None) == pending

    await plane.wait_data(is_reached)
    return plane.control.releases.get(name).object


async def deploy_v3(plane: Plane) -> ComponentVersion:
    """Deploy a version whose API has no pods, and return the API."""
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")
    return new
