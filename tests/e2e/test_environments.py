"""The same pods serve every virtual environment with its own values and its own data."""

import asyncio

import pytest

from tests.e2e.order_app_platform import OrderAppPlatform

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_deployment_shows_each_environments_values_from_the_same_pods(
    world: OrderAppPlatform,
) -> None:
    a, b = [
        await world.browser.get(team, deployment="order-app-v1") for team in ("team-a", "team-b")
    ]

    assert a.parts == b.parts
    assert "Team A" in a.text
    assert "EUR 14" in a.text
    assert "Team B" in b.text
    assert "GBP 14" in b.text


async def test_each_environment_has_its_own_orders(world: OrderAppPlatform) -> None:
    one, other = await world.new_environment(), await world.new_environment()

    first = await world.browser.place_order(one, "Grace", deployment="order-app-v1")
    second = await world.browser.place_order(other, "Edsger", deployment="order-app-v1")

    assert [page.url.count("/orders/1001") for page in (first, second)] == [1, 1]
    assert "Grace" in first.text
    assert "Edsger" in second.text


async def test_the_clock_moves_each_released_environments_own_orders_on(
    world: OrderAppPlatform,
) -> None:
    released = [await world.new_environment(), await world.new_environment()]
    unreleased = await world.new_environment()
    for environment in released:
        await world.release("v1", environment)

    moving = [await world.browser.place_order(environment, "Barbara") for environment in released]
    resting = await world.browser.place_order(unreleased, "Tony", deployment="order-app-v1")
    await asyncio.gather(*(world.wait_status(page, "delivered") for page in moving))

    assert (await world.browser.visit(resting.url)).order_status == "placed"
    steps = (await world.browser.visit(moving[0].url)).text
    worker = (await world.platform.versions())["order-app-v1"]["order-worker"]
    assert steps.count(f"by order-worker {worker}") == 3


async def test_orders_placed_at_once_all_get_a_number_of_their_own(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()

    placed = await asyncio.gather(
        *(
            world.browser.place_order(environment, f"Customer {number}", deployment="order-app-v2")
            for number in range(5)
        )
    )

    assert [page.text for page in placed if page.status != 200] == []
    page = await world.browser.get(environment, deployment="order-app-v2")
    assert page.orders == [1005, 1004, 1003, 1002, 1001]
