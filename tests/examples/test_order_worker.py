from typing import Any

import pytest

from fox.kit.state_store import StateStore
from fox.testing import TestClient
from tests.examples.conftest import Load

ORDERS = StateStore("orders")


@pytest.fixture
def client(load: Load) -> TestClient:
    return TestClient(
        load("v1", "order-worker"),
        name="order-worker",
        env={"subPath": "dev"},
        dependencies={"api-server": load("v1", "api-server")},
        deployment="order-app-v1",
        virtual_environment="team-a",
    )


def order(number: int, *statuses: str) -> dict[str, Any]:
    steps = [{"status": status, "at_s": 0.0, "by": "order-ui@0"} for status in statuses]
    return {"number": number, "customer": "Ada", "product": "mug", "quantity": 1, "steps": steps}


async def test_each_tick_moves_an_order_one_step_until_it_is_delivered(
    client: TestClient,
) -> None:
    await ORDERS.put("1001", order(1001, "placed"), ctx=client.state_store)

    for _ in range(5):
        await client.tick()

    entry = await ORDERS.get("1001", ctx=client.state_store)
    assert entry is not None
    steps = entry.json()["steps"]
    assert [step["status"] for step in steps] == ["placed", "packed", "shipped", "delivered"]
    assert all(step["by"].startswith("order-worker@") for step in steps[1:])


async def test_the_report_counts_orders_and_names_its_components(client: TestClient) -> None:
    await ORDERS.put("1001", order(1001, "placed"), ctx=client.state_store)
    await ORDERS.put("1002", order(1002, "placed", "packed"), ctx=client.state_store)

    report = (await client.get("/dev/order-app/fulfillment")).json()

    assert report["orders"] == {"placed": 1, "packed": 1, "shipped": 0, "delivered": 0}
    assert [source.partition("@")[0] for source in report["components"]] == [
        "order-worker",
        "api-server",
    ]
    assert (report["deployment"], report["virtual_environment"]) == ("order-app-v1", "team-a")


async def test_a_browser_gets_the_report_as_html(client: TestClient) -> None:
    await ORDERS.put("1001", order(1001, "placed"), ctx=client.state_store)
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    page = await client.get("/dev/order-app/fulfillment", headers=browser)

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["vary"] == "accept"
    assert '<dd id="placed">1</dd>' in page.text
    assert 'href="../order-app?kf-dep=order-app-v1&amp;kf-ve=team-a"' in page.text
    assert page.text.count("data-source=") == 2


async def test_other_components_can_call_for_the_report(client: TestClient) -> None:
    report = (await client.call("GET", "/")).json()

    assert sum(report["orders"].values()) == 0
