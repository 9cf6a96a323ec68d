"""The chapters of the story, in order; each continues where the one before it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus

from examples.demo.context import DemoContext
from examples.demo.load import visitors
from examples.demo.page import Page
from examples.order_app import ENVIRONMENTS, SNOOP

PODS_AFTER = {"v1": 3, "v2": 4, "v3": 6}
DEPLOYMENTS = tuple(f"order-app-{version}" for version in PODS_AFTER)
CONCURRENT_REQUESTS = 300
LOAD_REQUESTS = 60
MAX_FAILURE_S = 5


async def run_story(demo: DemoContext) -> None:
    """Run all chapters.

    Raises:
        Unexpected: A result differs from what the story expects.
    """
    for chapter in (
        deploy,
        deploy_again,
        select_versions,
        release,
        switch_under_load,
        separate_teams,
        kill_a_pod,
        refuse_undeclared_call,
    ):
        await chapter(demo)


async def deploy(demo: DemoContext) -> None:
    """Deploy three versions: only the components that changed get new pods."""
    demo.narrator.chapter("Deploy three versions: only the components that changed get new pods")
    await demo.fox("apply", "-f", ENVIRONMENTS)
    for version, expected in PODS_AFTER.items():
        await demo.deploy(version)
        pods = await demo.platform.pods()
        demo.narrator.expect(len(pods) == expected, f"{expected} pods", pods)
    demo.narrator.versions(await demo.platform.versions())


async def deploy_again(demo: DemoContext) -> None:
    """Deploy the same versions: no pod is started."""
    demo.narrator.chapter("Deploy the same versions again: no new pod is started")
    before = await demo.platform.pods()
    for version in PODS_AFTER:
        await demo.deploy(version)
    demo.narrator.expect(await demo.platform.pods() == before, "the same 6 pods", before)


async def select_versions(demo: DemoContext) -> None:
    """Select each version by an explicit URL: every call stays in its deployment."""
    demo.narrator.chapter("Open each version by its URL: every call stays in that deployment")
    versions = await demo.platform.versions()
    for name in DEPLOYMENTS:
        page = await demo.browser.get("team-a", deployment=name)
        demo.narrator.say(f"  {page.url}")
        is_right = page.deployment == name and _is_within(page, versions[name])
        demo.narrator.expect(is_right, f"{name}: {_listed(page.parts)}", page.text)
    pages = await asyncio.gather(
        *(
            demo.browser.get("team-a", deployment=DEPLOYMENTS[i % 3])
            for i in range(CONCURRENT_REQUESTS)
        )
    )
    wrong = [
        page
        for i, page in enumerate(pages)
        if page.deployment != DEPLOYMENTS[i % 3] or not _is_within(page, versions[page.deployment])
    ]
    demo.narrator.expect(
        not wrong,
        f"{CONCURRENT_REQUESTS} concurrent requests, each served by its own deployment",
        wrong[:1],
    )


async def release(demo: DemoContext) -> None:
    """Release v2: plain URLs are routed to it."""
    demo.narrator.chapter("Release v2: plain URLs are routed to it")
    page = await demo.browser.get("team-a")
    is_404 = page.status == HTTPStatus.NOT_FOUND
    demo.narrator.expect(is_404, f"before: {page.url} is 404", page.text)
    await demo.release("v2", "team-a")
    page = await demo.browser.get("team-a")
    demo.narrator.expect(page.deployment == "order-app-v2", f"after: {page.url} is v2", page.text)
    for name in ("order-app-v1", "order-app-v3"):
        page = await demo.browser.get("team-a", deployment=name)
        demo.narrator.expect(page.deployment == name, f"{name} stays reachable", page.text)


async def switch_under_load(demo: DemoContext) -> None:
    """Release another version while requests arrive: none fails."""
    demo.narrator.chapter("Release v1 while requests arrive: no request fails")
    async with visitors(demo.browser, "team-a") as load:
        await load.wait_more(LOAD_REQUESTS)
        await demo.release("v1", "team-a")
        await load.wait_more(LOAD_REQUESTS)
    served = load.deployments()
    demo.narrator.expect(
        not load.failed, f"{len(load.pages)} requests, none failed", load.failed[:1]
    )
    demo.narrator.expect(
        set(served) == {"order-app-v1", "order-app-v2"},
        f"v2 served {served['order-app-v2']}, v1 served {served['order-app-v1']}",
        served,
    )
    page = await demo.browser.get("team-a")
    demo.narrator.expect(
        page.deployment == "order-app-v1", "now v1 serves every request", page.text
    )


async def separate_teams(demo: DemoContext) -> None:
    """Serve two teams by the same pods: each has its own values, orders and schedule."""
    demo.narrator.chapter("Serve two teams by the same pods: each has its own values and orders")
    await demo.release("v1", "team-b")
    a, b = [await demo.browser.place_order(team, f"A {team} fan") for team in ("team-a", "team-b")]
    demo.narrator.expect(a.parts == b.parts, f"the same pods: {_listed(a.parts)}", b.parts)
    for team, page, greeting, currency in (
        ("team-a", a, "Team A", "EUR"),
        ("team-b", b, "Team B", "GBP"),
    ):
        has_values = greeting in page.text and currency in page.text
        demo.narrator.expect(has_values, f"{team}: its own greeting, {currency}", page.text)
    for team, other, page in (("team-a", "team-b", a), ("team-b", "team-a", b)):
        front = await demo.browser.get(team)
        has_own = f"A {team} fan" in front.text and f"A {other} fan" not in front.text
        demo.narrator.expect(has_own, f"{team} sees only its own orders", front.text)
        await demo.wait_delivered(page.url)
        demo.narrator.done(f"the schedule of order-worker delivered its order: {page.url}")


async def kill_a_pod(demo: DemoContext) -> None:
    """Kill a pod: it is restarted, and requests meanwhile wait for it."""
    demo.narrator.chapter("Kill a pod: requests wait until it is restarted")
    digest = (await demo.platform.versions())["order-app-v1"]["api-server"]
    pod = await demo.platform.pod_of("api-server", digest)
    os.kill(pod["pid"], signal.SIGKILL)
    demo.narrator.command(f"kill -9 {pod['pid']}  # {pod['id']}")
    statuses: Counter[int] = Counter()
    longest_s = 0.0
    while not statuses[HTTPStatus.OK]:
        began = time.monotonic()
        page = await demo.browser.get("team-a")
        longest_s = max(longest_s, time.monotonic() - began)
        statuses[page.status] += 1
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    demo.narrator.expect(set(statuses) <= {200, 502, 503}, f"statuses: {counts}", page.text)
    longest = f"the longest request took {longest_s * 1000:.0f} ms"
    demo.narrator.expect(longest_s < MAX_FAILURE_S, longest)
    restarted = await demo.platform.pod_of("api-server", digest)
    is_restarted = restarted["restarts"] > pod["restarts"]
    demo.narrator.expect(is_restarted, f"{pod['id']} was restarted", restarted)


async def refuse_undeclared_call(demo: DemoContext) -> None:
    """Call a component that is not declared as a dependency: the platform refuses it."""
    demo.narrator.chapter("Call a component that is not declared as a dependency: refused")
    await demo.deploy(SNOOP)
    page = await demo.browser.get("team-a", "/snoop", deployment=f"order-app-{SNOOP}")
    is_refused = page.status == HTTPStatus.FORBIDDEN and "not_declared" in page.text
    demo.narrator.expect(is_refused, f"{page.url} is 403 not_declared", page.text)
    await demo.fox("undeploy", f"order-app-{SNOOP}")
    await demo.platform.wait_pods(PODS_AFTER["v3"])
    demo.narrator.done("after the undeploy its pod has stopped; the other 6 pods still run")


def _is_within(page: Page, versions: Mapping[str, str]) -> bool:
    """Return whether all components that handled a request are of the deployment."""
    return bool(page.parts) and page.parts.items() <= versions.items()


def _listed(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest}" for name, digest in parts.items())
