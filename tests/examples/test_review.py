import asyncio

import pytest

from fox.kit.testing import TestClient
from tests.examples.conftest import Load

SAID = {"author": "Grace", "stars": "4", "text": "Warm"}


@pytest.fixture
def client(load: Load) -> TestClient:
    return TestClient(load("v3", "review"), name="review")


async def test_of_reviews_sent_at_once_none_is_lost(client: TestClient) -> None:
    authors = [f"author {each}" for each in range(5)]

    await asyncio.gather(
        *(client.call("POST", "/orders/1001", json=SAID | {"author": each}) for each in authors)
    )

    kept = (await client.call("GET", "/orders/1001")).json()
    assert sorted(each["author"] for each in kept) == authors


async def test_the_rating_of_an_order_is_the_mean_of_its_stars(client: TestClient) -> None:
    for stars in ("4", "5"):
        await client.call("POST", "/orders/1001", json=SAID | {"stars": stars})

    ratings = (await client.call("GET", "/ratings")).json()

    assert ratings == {"1001": 4.5}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [({"stars": "0"}, "1 to 5"), ({"text": " "}, "what you think"), ({"stars": "x"}, "stars")],
)
async def test_a_review_that_makes_no_sense_is_refused_with_the_reason(
    client: TestClient, wrong: dict[str, str], problem: str
) -> None:
    refused = await client.call("POST", "/orders/1001", json=SAID | wrong)

    assert refused.status == 422
    assert problem in refused.json()["problem"]


async def test_another_path_is_404(client: TestClient) -> None:
    assert (await client.call("GET", "/nothing")).status == 404
