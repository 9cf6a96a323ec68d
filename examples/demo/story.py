"""The chapters of the story, in their order; each goes on where the one before it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus

from examples.demo.load import visitors
from examples.demo.page import Page
from examples.demo.scene import Scene
from examples.order_app import ENVIRONMENTS, SNOOP

PODS_AFTER = {"v1": 3, "v2": 4, "v3": 6}
DEPLOYMENTS = tuple(f"order-app-{version}" for version in PODS_AFTER)
MIXED = 300
MEANWHILE = 60
AT_ONCE_S = 5


async def tell_all(scene: Scene) -> None:
    """Tell the whole story.

    Raises:
        Unexpected: Something is not as the story says.
    """
    for chapter in (
        deploy,
        deploy_again,
        visit_versions,
        release,
        switch_under_load,
        keep_teams_apart,
        lose_a_pod,
        refuse_a_snoop,
    ):
        await chapter(scene)


async def deploy(scene: Scene) -> None:
    """Version by version, only what changed gets a pod."""
    scene.tell.chapter("Deploy three versions: only what changed gets a pod")
    await scene.fox("apply", "-f", ENVIRONMENTS)
    for version, expected in PODS_AFTER.items():
        await scene.deploy(version)
        pods = await scene.platform.pods()
        scene.tell.expect(len(pods) == expected, f"{expected} pods", pods)
    scene.tell.versions(await scene.platform.versions())


async def deploy_again(scene: Scene) -> None:
    """What runs already is not started again."""
    scene.tell.chapter("Deploy them again: nothing is new")
    before = await scene.platform.pods()
    for version in PODS_AFTER:
        await scene.deploy(version)
    scene.tell.expect(await scene.platform.pods() == before, "the same 6 pods", before)


async def visit_versions(scene: Scene) -> None:
    """An explicit URL leads to one version, and no hop leaves it."""
    scene.tell.chapter("Visit each version by its URL: no hop leaves it")
    versions = await scene.platform.versions()
    for name in DEPLOYMENTS:
        page = await scene.browser.get("team-a", deployment=name)
        scene.tell.say(f"  {page.url}")
        is_right = page.deployment == name and _is_within(page, versions[name])
        scene.tell.expect(is_right, f"{name}: {_listed(page.parts)}", page.text)
    pages = await asyncio.gather(
        *(scene.browser.get("team-a", deployment=DEPLOYMENTS[i % 3]) for i in range(MIXED))
    )
    mixed_up = [
        page
        for i, page in enumerate(pages)
        if page.deployment != DEPLOYMENTS[i % 3] or not _is_within(page, versions[page.deployment])
    ]
    scene.tell.expect(not mixed_up, f"{MIXED} visits at once, none mixed up", mixed_up[:1])


async def release(scene: Scene) -> None:
    """A plain URL leads nowhere until there is a release."""
    scene.tell.chapter("Release v2: plain URLs lead to it")
    page = await scene.browser.get("team-a")
    scene.tell.expect(page.status == HTTPStatus.NOT_FOUND, f"before: {page.url} is 404", page.text)
    await scene.release("v2", "team-a")
    page = await scene.browser.get("team-a")
    scene.tell.expect(page.deployment == "order-app-v2", f"after: {page.url} is v2", page.text)
    for name in ("order-app-v1", "order-app-v3"):
        page = await scene.browser.get("team-a", deployment=name)
        scene.tell.expect(page.deployment == name, f"{name} stays reachable", page.text)


async def switch_under_load(scene: Scene) -> None:
    """Another release takes over between two visits."""
    scene.tell.chapter("Release v1 while visitors come: no visit fails")
    async with visitors(scene.browser, "team-a") as load:
        await load.wait_more(MEANWHILE)
        await scene.release("v1", "team-a")
        await load.wait_more(MEANWHILE)
    seen = load.deployments()
    scene.tell.expect(not load.failed, f"{len(load.pages)} visits, none failed", load.failed[:1])
    scene.tell.expect(
        set(seen) == {"order-app-v1", "order-app-v2"},
        f"{seen['order-app-v2']} saw v2, {seen['order-app-v1']} saw v1",
        seen,
    )
    page = await scene.browser.get("team-a")
    scene.tell.expect(page.deployment == "order-app-v1", "now everybody sees v1", page.text)


async def keep_teams_apart(scene: Scene) -> None:
    """The same pods serve both teams, each with its own values, orders and clock."""
    scene.tell.chapter("Two teams on the same pods, each with its own values and orders")
    await scene.release("v1", "team-b")
    a, b = [await scene.browser.place_order(each, f"A {each} fan") for each in ("team-a", "team-b")]
    scene.tell.expect(a.parts == b.parts, f"the same pods: {_listed(a.parts)}", b.parts)
    scene.tell.expect("Team A" in a.text and "EUR" in a.text, "team-a: its greeting, EUR", a.text)
    scene.tell.expect("Team B" in b.text and "GBP" in b.text, "team-b: its greeting, GBP", b.text)
    for team, other, page in (("team-a", "team-b", a), ("team-b", "team-a", b)):
        front = await scene.browser.get(team)
        is_own = f"A {team} fan" in front.text and f"A {other} fan" not in front.text
        scene.tell.expect(is_own, f"{team} sees its own orders only", front.text)
        await scene.wait_delivered(page.url)
        scene.tell.done(f"order-worker has delivered them, tick by tick: {page.url}")


async def lose_a_pod(scene: Scene) -> None:
    """A pod that dies is started again; meanwhile visits fail at once, and none hangs."""
    scene.tell.chapter("kill -9 a pod: visits fail at once, then it is back")
    digest = (await scene.platform.versions())["order-app-v1"]["api-server"]
    pod = await scene.platform.pod_of("api-server", digest)
    os.kill(pod["pid"], signal.SIGKILL)
    scene.tell.command(f"kill -9 {pod['pid']}  # {pod['id']}")
    seen: Counter[int] = Counter()
    longest_s = 0.0
    while not seen[HTTPStatus.OK]:
        began = time.monotonic()
        page = await scene.browser.get("team-a")
        longest_s = max(longest_s, time.monotonic() - began)
        seen[page.status] += 1
    counted = ", ".join(f"{count} x {status}" for status, count in sorted(seen.items()))
    scene.tell.expect(set(seen) <= {200, 502, 503}, f"visits meanwhile: {counted}", page.text)
    scene.tell.expect(longest_s < AT_ONCE_S, f"the longest took {longest_s * 1000:.0f} ms")
    again = await scene.platform.pod_of("api-server", digest)
    scene.tell.expect(again["restarts"] > pod["restarts"], f"{pod['id']} was restarted", again)


async def refuse_a_snoop(scene: Scene) -> None:
    """A call that a component does not declare is refused, even within its deployment."""
    scene.tell.chapter("A component calls one that it did not declare: refused")
    await scene.deploy(SNOOP)
    page = await scene.browser.get("team-a", "/snoop", deployment=f"order-app-{SNOOP}")
    is_refused = page.status == HTTPStatus.FORBIDDEN and "not_declared" in page.text
    scene.tell.expect(is_refused, f"{page.url} is 403 not_declared", page.text)
    await scene.fox("undeploy", f"order-app-{SNOOP}")
    await scene.platform.wait_pods(PODS_AFTER["v3"])
    scene.tell.done("undeployed: its pod is gone, the other 6 stay")


def _is_within(page: Page, versions: Mapping[str, str]) -> bool:
    """Return whether every component that took part is of the deployment."""
    return bool(page.parts) and page.parts.items() <= versions.items()


def _listed(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest}" for name, digest in parts.items())
