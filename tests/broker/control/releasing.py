"""What the tests of releases release, and how they look at it."""

from __future__ import annotations

from model.component import ComponentVersion
from model.environment import PolicyType
from model.release import ReleaseState
from tests.support.control_plane import Plane, component, pods_of

RULE = "Path(`/{{.Vars.subPath}}/orders`)"
UI = component("order-ui", routes=[RULE], calls=["api-server"])
API = component("api-server")
API_V2 = component("api-server", "v2")
SHOP = component("shop-ui", app="shop", routes=["Path(`/{{.Vars.subPath}}/shop`)"])


async def prepared(plane: Plane, *names: str, policy: PolicyType = PolicyType.STABLE) -> None:
    await plane.environments(*(names or ("team-a",)), policy=policy)
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await plane.deploy("order-app-v2", UI, API_V2, version="v2")
    await plane.deploy("shop-v1", SHOP, version="v1")
    await plane.publish(*pods_of(UI, API, API_V2, SHOP))


def active_of(plane: Plane, name: str = "team-a") -> dict[str, str]:
    active = plane.control.releases.get(name).object.active
    return {app: each.deployment for app, each in active.apps.items()} if active else {}


async def wait_state(plane: Plane, name: str = "team-a", *, pending: bool) -> ReleaseState:
    def is_there() -> bool:
        state = plane.store.snapshot.releases.get(name)
        return state is not None and (state.pending is not None) == pending

    await plane.wait_data(is_there)
    return plane.control.releases.get(name).object


async def new_version(plane: Plane) -> ComponentVersion:
    new = component("api-server", "v3")
    await plane.deploy("order-app-v3", UI, new, version="v3")
    return new
