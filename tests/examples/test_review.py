import asyncio

import pytest

from fox.testing import TestClient
from tests.examples.conftest import Load

REVIEW = {"author": "Grace", "stars": "4", "text": "Warm"}


@pytest.fixture
def client(load: Load) -> TestClient:
    return TestClient(load("v3", "review"), name="review")


async def test_concurrent_reviews_are_all_stored(client: TestClient) -> None:
    authors = [f"author {number}" for number in range(5)]

    await asyncio.gather(
        *(
            client.call("POST", "/orders/1001", json=REVIEW | {"author": author})
            for author in authors
        )
    )

    stored = (await client.call("GET", "/orders/1001")).json()
    assert sorted(review["author"] for review in stored) == authors


async def test_the_rating_of_an_order_is_the_mean_of_its_stars(client: TestClient) -> None:
    for stars in ("4", "5"):
        await client.call("POST", "/orders/1001", json=REVIEW | {"stars": stars})

    ratings = (await client.call("GET", "/ratings")).json()

    assert ratings == {"1001": 4.5}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [({"stars": "0"}, "1 to 5"), ({"text": " "}, "a review"), ({"stars": "x"}, "stars")],
)
async def test_an_invalid_review_is_refused_with_the_reason(
    client: TestClient, wrong: dict[str, str], problem: str
) -> None:
    refused = await client.call("POST", "/orders/1001", json=REVIEW | wrong)

    assert refused.status == 422
    assert problem in refused.json()["problem"]


async def test_an_unknown_path_is_404(client: TestClient) -> None:
    assert (await client.call("GET", "/nothing")).status == 404
