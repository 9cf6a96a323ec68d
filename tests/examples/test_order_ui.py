from collections.abc import Callable

import pytest

from fox.testing import TestClient
from tests.examples.conftest import Load

ORDER = {"customer": "Ada <b>", "product": "mug", "quantity": "2"}
REVIEW = {"author": "Grace", "stars": "4", "text": "Keeps <i>warm</i>"}

Shop = Callable[..., TestClient]


@pytest.fixture(params=["v1"])
def shop(load: Load, request: pytest.FixtureRequest) -> Shop:
    version: str = request.param
    kit = load(version, "order-ui")
    dependencies = {"api-server": load(version, "api-server")}
    if version == "v3":
        dependencies["review"] = load(version, "review")

    def open_shop(*, release: str = "") -> TestClient:
        return TestClient(
            kit,
            name="order-ui",
            env={"subPath": "dev", "greeting": "Hello & welcome", "accent": "teal"},
            dependencies=dependencies,
            app="order-app",
            deployment="order-app-v1",
            virtual_environment="team-a",
            release=release,
        )

    return open_shop


all_versions = pytest.mark.parametrize("shop", ["v1", "v3"], indirect=True)


@all_versions
async def test_a_placed_order_has_a_page_and_is_listed(shop: Shop) -> None:
    client = shop()

    placed = await client.post("/dev/order-app/orders", form=ORDER)
    page = await client.get(placed.headers["location"])
    front = await client.get("/dev/order-app")

    assert placed.status == 303
    assert "Enamel mug" in page.text
    assert 'data-status="placed"' in page.text
    assert '<li id="order-1001">' in front.text


@all_versions
async def test_form_values_are_escaped(shop: Shop) -> None:
    client = shop()

    await client.post("/dev/order-app/orders", form=ORDER)

    assert "Ada &lt;b&gt;" in (await client.get("/dev/order-app")).text
    assert "Ada &lt;b&gt;" in (await client.get("/dev/order-app/orders/1001")).text


@all_versions
async def test_an_invalid_order_shows_the_reason(shop: Shop) -> None:
    refused = await shop().post("/dev/order-app/orders", form=ORDER | {"quantity": "0"})

    assert refused.status == 422
    assert "between 1 and 99" in refused.text


@all_versions
async def test_an_unknown_order_is_404(shop: Shop) -> None:
    page = await shop().get("/dev/order-app/orders/1")

    assert page.status == 404
    assert "There is no order 1." in page.text


@all_versions
async def test_links_of_an_explicit_url_keep_the_deployment(shop: Shop) -> None:
    client = shop()
    selectors = "?kf-dep=order-app-v1&amp;kf-ve=team-a"

    placed = await client.post("/dev/order-app/orders", form=ORDER)
    front = await client.get("/dev/order-app")

    assert placed.headers["location"].endswith("/1001?kf-dep=order-app-v1&kf-ve=team-a")
    assert f'href="/dev/order-app/orders/1001{selectors}"' in front.text
    assert f'action="/dev/order-app/orders{selectors}"' in front.text
    assert "explicit URL" in front.text


@all_versions
async def test_links_of_the_release_are_plain_urls(shop: Shop) -> None:
    client = shop(release="r-7")

    placed = await client.post("/dev/order-app/orders", form=ORDER)
    front = await client.get("/dev/order-app")

    assert placed.headers["location"] == "/dev/order-app/orders/1001"
    assert "kf-" not in front.text
    assert "release r-7" in front.text


@pytest.mark.parametrize(
    ("shop", "parts"),
    [("v1", ["order-ui", "api-server"]), ("v3", ["order-ui", "api-server", "review"])],
    indirect=["shop"],
)
async def test_a_page_shows_its_environment_and_component_versions(
    shop: Shop, parts: list[str]
) -> None:
    front = await shop().get("/dev/order-app")

    assert "Hello &amp; welcome" in front.text
    assert "--accent: teal" in front.text
    assert '<dd id="environment">team-a</dd>' in front.text
    assert [f'data-source="{part}@' in front.text for part in parts] == [True] * len(parts)


@pytest.mark.parametrize("shop", ["v3"], indirect=True)
async def test_a_review_is_shown_with_its_order_and_in_the_list(shop: Shop) -> None:
    client = shop()
    await client.post("/dev/order-app/orders", form=ORDER)

    sent = await client.post("/dev/order-app/orders/1001/reviews", form=REVIEW)

    assert sent.status == 303
    page = await client.get("/dev/order-app/orders/1001")
    assert "Keeps &lt;i&gt;warm&lt;/i&gt;" in page.text
    assert "★★★★☆" in (await client.get("/dev/order-app")).text


@pytest.mark.parametrize("shop", ["v3"], indirect=True)
async def test_an_invalid_review_shows_the_reason(shop: Shop) -> None:
    client = shop()
    await client.post("/dev/order-app/orders", form=ORDER)

    refused = await client.post("/dev/order-app/orders/1001/reviews", form=REVIEW | {"stars": "6"})

    assert refused.status == 422
    assert "1 to 5 stars" in refused.text


@pytest.mark.parametrize("shop", ["v3"], indirect=True)
async def test_an_unknown_order_cannot_be_reviewed(shop: Shop) -> None:
    refused = await shop().post("/dev/order-app/orders/1/reviews", form=REVIEW)

    assert refused.status == 404
