"""Component versions that nobody uses have no pods, and no event that needs one fails for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker import bus as buses
from broker.broker import Broker, open_broker
from broker.ids import new_id
from broker.outbox import Outbox, ensure_outbox
from broker.settings import Settings
from broker.usage import Usage
from broker.waking import Wake, WakeReply, WakeRequest
from model import records, subjects
from model.environment import Environment, VirtualEnvironment
from model.errors import NoPodReady
from model.event import EventType
from model.pod import PodPhase
from pods import waker
from pods.base import PodSpec
from pods.fleet import Limits
from pods.local import POD_COMMAND
from routing.bindings import Target
from routing.request import GenesisRequest
from routing.selectors import Selectors
from tests.pods import programs
from tests.pods.platform import Platform
from tests.pods.processes import wait_until
from tests.support.nats import NatsServer

GOOD_2 = f"{programs.GOOD}# the second version\n"
LIMITS = Limits(event_ttl_s=20, idle_s=0.2, least_look_s=0.05)
AWAKE = Limits(event_ttl_s=20, idle_s=3600, least_look_s=0.05)
SIGN_S = 15

API = """\
from fox import Context, Kit

kit = Kit()


@kit.default
async def answer(ctx: Context) -> str:
    return "api"
"""
UI = """\
import asyncio
from pathlib import Path

from fox import Context, Kit

kit = Kit()
api = kit.component("api-server")


@kit.route("Path(`/`)")
async def ask(ctx: Context) -> str:
    return "ui " + (await api.get("/", ctx=ctx)).text


@kit.route("Path(`/slow`)")
async def wait(ctx: Context) -> str:
    signs = Path(ctx.query["signs"])
    (signs / "begun").touch()
    while not (signs / "end").exists():
        await asyncio.sleep(0.02)
    return "ui " + (await api.get("/", ctx=ctx)).text
"""


class Visitor:
    """Sends requests to the deployment ``v1`` as an adapter does."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def get(self, path: str = "/", query: str = "") -> str:
        """Return the answer's text; raise the error that stopped it."""
        target = self._target(path)
        _, body = await self.broker.dispatch(
            self.broker.lane(target),
            event_id=new_id(),
            type=EventType.HTTP,
            source="adapter/http",
            handler=target.route,
            path=path,
            query=query,
        )
        assert isinstance(body, bytes)
        return body.decode()

    def _target(self, path: str) -> Target:
        selectors = Selectors(deployment="v1", virtual_environment="here")
        return self.broker.resolve(GenesisRequest(path=path), selectors).target


@contextlib.asynccontextmanager
async def visiting(platform: Platform) -> AsyncIterator[Visitor]:
    """Open a broker in a virtual environment ``here``, once it knows of the deployment."""
    await platform.store.create(records.environment_key("base"), Environment(name="base"))
    here = VirtualEnvironment(name="here", environment="base")
    revision = await platform.store.create(records.virtual_environment_key("here"), here)
    async with (
        buses.connect(platform.url, process_id="visitor") as bus,
        open_broker(bus, Settings(event_ttl_s=20)) as broker,
    ):
        await broker.store.wait_revision(revision)
        yield Visitor(broker)


async def ui_and_api(platform: Platform) -> tuple[PodSpec, PodSpec]:
    ui = await platform.version(
        UI, "order-ui", calls=("api-server",), routes=("Path(`/`)", "Path(`/slow`)")
    )
    api = await platform.version(API)
    await platform.deploy("v1", ui, api)
    return ui, api


async def use(platform: Platform, hashes: set[str]) -> asyncio.Semaphore:
    """Be a broker that uses ``hashes``; the semaphore counts how often it was asked."""
    asked = asyncio.Semaphore(0)

    async def answer(_payload: bytes, reply: str) -> None:
        usage = Usage(revision=platform.store.snapshot.revision, hashes=frozenset(hashes))
        await platform.bus.publish(reply, msgspec.msgpack.encode(usage))
        asked.release()

    await platform.bus.serve(subjects.USAGE, answer)
    return asked


async def ask_to_wake(platform: Platform, spec: PodSpec, *members: PodSpec) -> Wake:
    hashes = frozenset(each.hash for each in members)
    question = msgspec.msgpack.encode(WakeRequest(target=spec.subject, hashes=hashes))
    state = Wake.WAKING
    while state is Wake.WAKING:
        answer = await platform.bus.request(subjects.PODS_WAKE, question, SIGN_S)
        state = msgspec.msgpack.decode(answer, type=WakeReply).state
    return state


async def test_a_version_that_is_used_stays_awake_and_sleeps_when_it_no_longer_is(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    used = {api.hash}
    asked = await use(platform, used)
    async with platform.reconciling(limits=LIMITS) as reconciler:
        await platform.deploy("v1", api)
        before = await platform.wait_ready(api)
        for _ in range(3):
            await asked.acquire()
        assert await platform.wait_ready(api) == before

        used.clear()

        await platform.wait_asleep(api)
        assert (reconciler.counts.sleeps, reconciler.counts.wakes) == (1, 0)
    assert platform.gone == []


async def test_nobody_is_asked_who_is_idle_when_nobody_may_sleep(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    asked = await use(platform, set())
    async with platform.reconciling(limits=Limits()):
        await platform.deploy("v1", api)
        await platform.wait_ready(api)

        with pytest.raises(NoPodReady):
            await ask_to_wake(platform, api)
    assert asked.locked()


async def test_who_asks_for_a_version_that_sleeps_is_told_when_it_is_ready(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    await use(platform, set())
    async with platform.reconciling(limits=LIMITS) as reconciler:
        await platform.deploy("v1", api)
        await platform.wait_asleep(api)

        told = await asyncio.gather(*(ask_to_wake(platform, api) for _ in range(50)))

        assert set(told) == {Wake.AWAKE}
        assert reconciler.counts.wakes == 1


async def test_what_is_awake_or_unknown_is_not_woken(platform: Platform) -> None:
    api, unknown = await platform.version(programs.GOOD), await platform.version(programs.BROKEN)
    starting = await platform.version(programs.NEVER_READY, "order-worker")
    async with platform.reconciling(limits=AWAKE) as reconciler:
        await platform.deploy("v1", api, starting)
        await platform.wait_pods(
            lambda statuses: (
                {each.phase for each in statuses if each.pid} == {PodPhase.READY, PodPhase.STARTING}
            )
        )

        assert await ask_to_wake(platform, api) is Wake.AWAKE
        assert await ask_to_wake(platform, starting) is Wake.NOT_ASLEEP
        assert await ask_to_wake(platform, unknown) is Wake.NOT_ASLEEP
        assert reconciler.counts.wakes == 0


async def test_a_pod_that_was_killed_is_not_asleep(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    async with platform.reconciling(limits=AWAKE):
        await platform.deploy("v1", api)
        (status,) = await platform.wait_ready(api)

        os.kill(status.pid or 0, signal.SIGKILL)
        await platform.wait_pods(lambda statuses: statuses[0].phase is PodPhase.BACK_OFF)

        assert await ask_to_wake(platform, api) is Wake.NOT_ASLEEP
        await platform.wait_ready(api)


async def test_a_version_that_cannot_be_started_any_more_fails_who_waits_for_it(
    platform: Platform,
) -> None:
    once = "import pathlib\npathlib.Path('../../started').touch(exist_ok=False)\n"
    api = await platform.version(once + programs.GOOD)
    await use(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_asleep(api)

        assert await ask_to_wake(platform, api) is Wake.NOT_ASLEEP


async def test_a_version_that_was_never_ready_does_not_sleep(platform: Platform) -> None:
    broken = await platform.version(programs.BROKEN, "order-worker")
    api = await platform.version(programs.GOOD)
    await use(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api, broken)

        await platform.wait_asleep(api)

        assert [status.component for status in platform.board.statuses] == ["order-worker"]


async def test_a_version_stays_awake_while_emitted_events_wait_for_it(platform: Platform) -> None:
    await ensure_outbox(platform.bus)
    worker = await platform.version(programs.GOOD, "order-worker")
    api = await platform.version(programs.GOOD)
    await Outbox(platform.bus).store(subjects.emitted(worker.subject), b"event")
    await use(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api, worker)

        await platform.wait_asleep(api)

        assert [status.component for status in platform.board.statuses] == ["order-worker"]


async def test_a_version_given_up_while_it_slept_still_serves_requests_from_before(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    used: set[str] = set()
    await use(platform, used)
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_asleep(api)
        await platform.undeploy("v1")
        await platform.wait_asleep()

        used.add(api.hash)
        assert await ask_to_wake(platform, api) is Wake.AWAKE
        used.clear()

        await platform.wait_ready()
        assert await ask_to_wake(platform, api) is Wake.NOT_ASLEEP


async def test_the_next_reconciler_starts_who_slept(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    await use(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_asleep(api)

    async with platform.reconciling(limits=AWAKE):
        await platform.wait_ready(api)
        await platform.wait_pods(lambda _: not platform.board.sleepers)


async def test_those_of_its_deployment_that_a_version_calls_are_woken_with_it(
    platform: Platform,
) -> None:
    api, api_2 = await platform.version(programs.GOOD), await platform.version(GOOD_2)
    ui = await platform.version(programs.GOOD, "order-ui", calls=("api-server",))
    worker = await platform.version(programs.GOOD, "order-worker")
    used: set[str] = set()
    await use(platform, used)
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", ui, api, worker)
        await platform.deploy("v2", ui, api_2)
        await platform.wait_asleep(ui, api, api_2, worker)
        used |= {ui.hash, api.hash}

        assert await ask_to_wake(platform, ui, ui, api, worker) is Wake.AWAKE

        await platform.wait_ready(ui, api)
        assert {each.hash for each in platform.board.sleepers} == {api_2.hash, worker.hash}


async def test_a_request_wakes_whom_it_needs(platform: Platform) -> None:
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS) as reconciler,
        visiting(platform) as visitor,
    ):
        await platform.wait_asleep(ui, api)

        answers = await asyncio.gather(*(visitor.get() for _ in range(20)))

        assert set(answers) == {"ui api"}
        assert reconciler.counts.wakes == 2


async def test_after_a_restart_of_nats_who_sleeps_is_woken(
    platform: Platform, own_nats_server: NatsServer
) -> None:
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS),
        visiting(platform) as visitor,
    ):
        await platform.wait_asleep(ui, api)

        await asyncio.to_thread(own_nats_server.restart)
        await wait_until(lambda: visitor.broker.is_ready and platform.bus.is_ready)

        assert await visitor.get() == "ui api"


async def test_who_has_a_request_in_hand_does_not_sleep(platform: Platform) -> None:
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS) as reconciler,
        visiting(platform) as visitor,
        asyncio.TaskGroup() as group,
    ):
        await platform.wait_asleep(ui, api)
        signs = platform.folder
        slow = group.create_task(visitor.get("/slow", f"signs={signs}"))
        await wait_until((signs / "begun").exists)
        other = await platform.version(programs.GOOD, "order-worker")
        await platform.deploy("v2", other)

        # Neither the ui nor the api, which it has not called yet: the other was ready later.
        await platform.wait_asleep(other)
        (signs / "end").touch()

        assert await slow == "ui api"
        assert reconciler.counts.sleeps == 3


async def test_no_request_fails_when_pods_are_stopped_under_load(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_bus: object, _within_s: float) -> frozenset[str]:
        return frozenset()

    # Whoever asks is told that nobody uses what everybody uses: each stop races with requests.
    monkeypatch.setattr(waker, "used_lately", nothing)
    ui, api = await ui_and_api(platform)
    async with (
        platform.reconciling(command=POD_COMMAND, limits=LIMITS) as reconciler,
        visiting(platform) as visitor,
    ):
        await platform.wait_ready(ui, api)
        answers: list[str] = []

        async def visit() -> None:
            while reconciler.counts.sleeps < 8:
                answers.append(await visitor.get())

        await asyncio.gather(*(visit() for _ in range(16)))

        assert set(answers) == {"ui api"}
        assert reconciler.counts.wakes >= 6
