"""Deploying starts pods for new and changed component versions only."""

import json

import pytest

from tests.e2e.order_app_platform import OrderAppPlatform

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("version", "components"),
    [
        ("v1", ["api-server", "order-ui", "order-worker"]),
        ("v2", ["api-server", "api-server", "order-ui", "order-worker"]),
        ("v3", ["api-server", "api-server", "order-ui", "order-ui", "order-worker", "review"]),
    ],
)
async def test_a_version_adds_pods_for_its_new_and_changed_components(
    world: OrderAppPlatform, version: str, components: list[str]
) -> None:
    pods = world.pods_after[version]

    assert sorted(pod["component"] for pod in pods) == components
    assert {pod["phase"] for pod in pods} == {"ready"}


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
async def test_deploying_a_version_again_starts_no_pod(
    world: OrderAppPlatform, version: str
) -> None:
    before = await world.platform.pods()

    await world.deploy(version)

    assert await world.platform.pods() == before


async def test_the_plan_shows_reused_and_new_components_with_hashes(
    world: OrderAppPlatform,
) -> None:
    versions = await world.platform.versions()

    plan = world.output_of["v2"]

    steps = {
        digest: next(line for line in plan.splitlines() if digest in line)
        for digest in versions["order-app-v2"].values()
    }
    for component, digest in versions["order-app-v2"].items():
        assert component in steps[digest]
        assert ("new" if component == "api-server" else "reused") in steps[digest]


async def test_a_dry_run_prints_the_plan_and_changes_nothing(world: OrderAppPlatform) -> None:
    before = await world.platform.pods()

    plan = await world.fox("deploy", "never", "--ref", "snoop", "--dry-run")

    assert "snoop" in plan
    assert "never" not in await world.platform.versions()
    assert await world.platform.pods() == before


async def test_undeploying_stops_pods_that_no_other_deployment_uses(
    world: OrderAppPlatform,
) -> None:
    before = await world.platform.pods()

    await world.fox("deploy", "short-lived", "--ref", "snoop", "--wait")
    during = await world.platform.pods()
    await world.fox("undeploy", "short-lived")
    await world.platform.wait_pods(len(before))

    assert [pod["component"] for pod in during if pod not in before] == ["snoop"]
    assert await world.platform.pods() == before


async def test_a_version_cannot_be_deployed_again_with_other_content(
    world: OrderAppPlatform,
) -> None:
    versions = await world.platform.versions()

    refused = await world.platform.run(
        "deploy", "order-app-v1", "--ref", "v2", "--version", "v1", cwd=world.repository
    )

    assert refused.code == 1
    assert "order-app-v1" in refused.err
    assert await world.platform.versions() == versions


async def test_uncommitted_changes_are_refused_by_name_and_taken_with_dirty(
    world: OrderAppPlatform,
) -> None:
    style = world.repository / "components/order-ui/style.css"
    committed = style.read_text()
    style.write_text(committed + "/* changed */\n")

    refused = await world.platform.run("deploy", "changed", cwd=world.repository)
    printed = await world.fox("deploy", "changed", "--dirty", "--dry-run", "-o", "json")

    assert refused.code == 1
    assert "components/order-ui/style.css" in refused.err
    steps = [component["step"] for component in json.loads(printed)["plan"]["components"]]
    assert sorted(steps) == ["new", "reused", "reused", "reused"]
    style.write_text(committed)
