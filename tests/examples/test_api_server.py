import asyncio

import pytest

from fox.testing import TestClient
from tests.examples.conftest import Load

ORDER = {"customer": "Ada", "product": "mug", "quantity": "2"}


@pytest.fixture(params=["v1"])
def client(load: Load, request: pytest.FixtureRequest) -> TestClient:
    kit = load(request.param, "api-server")
    return TestClient(kit, name="api-server", env={"currency": "CHF"})


async def test_orders_get_ascending_numbers_and_are_listed_newest_first(client: TestClient) -> None:
    for customer in ("Ada", "Grace"):
        await client.call("POST", "/orders", json={**ORDER, "customer": customer})

    orders = (await client.call("GET", "/orders")).json()["orders"]

    assert [(order["number"], order["customer"]) for order in orders] == [
        (1002, "Grace"),
        (1001, "Ada"),
    ]


async def test_concurrent_orders_get_different_numbers(client: TestClient) -> None:
    placed = await asyncio.gather(*(client.call("POST", "/orders", json=ORDER) for _ in range(5)))

    assert sorted(response.json()["number"] for response in placed) == [
        1001,
        1002,
        1003,
        1004,
        1005,
    ]


async def test_an_order_records_the_component_of_each_step(client: TestClient) -> None:
    await client.call("POST", "/orders", json=ORDER)

    await client.call("PUT", "/orders/1001/status", json={"from": "placed", "to": "packed"})

    order = (await client.call("GET", "/orders/1001")).json()
    assert [step["status"] for step in order["steps"]] == ["placed", "packed"]
    assert order["status"] == "packed"
    assert order["steps"][0]["by"].startswith("test-client@")


async def test_a_repeated_step_is_refused_with_409(client: TestClient) -> None:
    await client.call("POST", "/orders", json=ORDER)
    step = {"from": "placed", "to": "packed"}

    first, second = [await client.call("PUT", "/orders/1001/status", json=step) for _ in range(2)]

    assert (first.status, second.status) == (200, 409)
    assert (await client.call("GET", "/orders/1001")).json()["status"] == "packed"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"customer": " "}, "name"),
        ({"product": "fox"}, "fox"),
        ({"quantity": "0"}, "between 1 and 99"),
        ({"quantity": "many"}, "quantity"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_an_invalid_order_is_refused_with_the_reason(
    client: TestClient, wrong: dict[str, str], problem: str
) -> None:
    refused = await client.call("POST", "/orders", json=ORDER | wrong)

    assert refused.status == 422
    assert problem in refused.json()["problem"]


@pytest.mark.parametrize("path", ["/orders/1", "/nothing"])
async def test_an_unknown_order_or_path_is_404(client: TestClient, path: str) -> None:
    response = await client.call("GET", path)

    assert response.status == 404


@pytest.mark.parametrize(
    ("client", "facts", "figures"),
    [
        (
            "v1",
            {"Quantity": "2", "Price": "CHF 14"},
            {"Orders": "1", "On their way": "1"},
        ),
        (
            "v2",
            {"Quantity": "2", "Price": "CHF 14", "Total": "CHF 28"},
            {"Orders": "1", "On their way": "1", "Revenue": "CHF 28"},
        ),
    ],
    indirect=["client"],
)
async def test_version_2_adds_totals(
    client: TestClient, facts: dict[str, str], figures: dict[str, str]
) -> None:
    placed = await client.call("POST", "/orders", json=ORDER)

    assert placed.json()["facts"] == facts
    assert (await client.call("GET", "/orders")).json()["figures"] == figures
