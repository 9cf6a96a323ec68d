"""The code of a component, on a running platform, with all that is in the memory of its pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.nats import bus as buses
from broker.nats.credentials.login import Credentials, Login
from examples.demo.platform import Platform
from fox.data_dir import read_info
from kubefox import subjects
from kubefox.errors import NatsUnavailable
from kubefox.senders import PLATFORM, PLATFORM_APP, Sender
from tests.security import spy_app
from tests.support.platform_nats import connect, read_platform_login

SOON_S = 60
APP = spy_app.NAME
REFUSED = "NATS does not let this process publish"
MAIN = '''\
"""Uses the connection and the credentials of its pod for what it wants."""

import gc

from broker.nats.bus import Bus
from fox import Context, Kit

kit = Kit(title="Spy")


def connection() -> Bus:
    return next(found for found in gc.get_objects() if isinstance(found, Bus))


async def ignore(payload: bytes, reply: str) -> None:
    """Receive nothing."""


@kit.route("Path(`/publish`)")
async def publish(ctx: Context) -> dict:
    """Publish to each subject, and return what came of it."""
    bus, outcomes = connection(), {}
    for subject in ctx.json():
        try:
            await bus.request(subject, b"", 20)
            outcomes[subject] = "published"
        except Exception as error:
            outcomes[subject] = str(error)
    return outcomes


@kit.route("Path(`/subscribe`)")
async def subscribe(ctx: Context) -> dict:
    """Subscribe to each subject, and return how many NATS has refused."""
    bus = connection()
    before = bus.forbidden.count
    for subject, queue in ctx.json():
        await bus.serve(subject, ignore, queue)
    await bus.flush()
    return {"refused": bus.forbidden.count - before}


@kit.route("Path(`/credentials`)")
async def credentials(ctx: Context) -> dict:
    """Return the credentials of the pod."""
    bus = connection()
    client = bus._client
    return {
        "process": bus.process_id,
        "token": client._user_jwt_cb().decode(),
        "seed": client._signature_cb.__self__.seed,
    }
'''


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    spy_app.build(tmp_path / "app", MAIN)
    async with Platform(tmp_path / "data") as platform:
        await platform.fox("apply", "-f", tmp_path / "app" / "environments.yaml")
        await platform.fox("deploy", "v1", "--dirty", "--wait", cwd=tmp_path / "app")
        yield platform


async def ask(platform: Platform, path: str, content: object = None) -> dict[str, Any]:
    """Return what the component answers."""
    async with aiohttp.request(
        "POST",
        platform.http_url + path,
        params={"kf-dep": "v1", "kf-ve": "here"},
        data=json.dumps(content),
    ) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json(content_type=None)
        return found


async def hash_of(platform: Platform) -> str:
    shown = json.loads(await platform.fox("get", "deployments", "v1", "-o", "json"))
    digest: str = shown["object"]["components"][APP]
    return digest


async def test_the_code_of_a_component_is_no_administrator_of_nats(platform: Platform) -> None:
    digest = await hash_of(platform)
    me = subjects.component(APP, APP, digest)
    other = subjects.component("bank", "vault", digest)
    acts = [
        "$JS.API.STREAM.INFO.KV_kubefox",
        "$JS.API.STREAM.DELETE.KV_kubefox",
        "$JS.API.STREAM.MSG.GET.KV_kubefox",
        "$JS.API.DIRECT.GET.KV_kubefox.platform.keys",
        "$KV.kubefox.deployment.v1",
        "$O.kubefox-bundles.C.x",
        subjects.emitted(me),
        subjects.pods_gone(me),
        subjects.request_to(other, Sender("bank", f"{APP}@{digest}")),
        subjects.request_to(me, Sender(PLATFORM_APP, "adapter/http")),
        subjects.view(Sender("bank", f"vault@{digest}")),
        subjects.figures_of(PLATFORM),
    ]
    wanted = [
        (subjects.requests_to(other), "pods"),
        (subjects.requests_to(me), ""),
        ("adapter.*.*.*", "adapters"),
        ("broker.view.*.*", "brokers"),
        ("reply.>", ""),
        ("$KV.>", ""),
    ]

    outcomes = await ask(platform, "/publish", acts)
    refused = (await ask(platform, "/subscribe", wanted))["refused"]

    assert [act for act in acts if REFUSED not in outcomes[act]] == []
    assert refused == len(wanted)
    assert await hash_of(platform) == digest


async def test_stolen_credentials_of_a_pod_end_with_its_version(platform: Platform) -> None:
    found = await ask(platform, "/credentials")
    info = await asyncio.to_thread(read_info, platform.data_dir)
    assert info is not None
    login = Login(
        url=info.nats_url,
        process_id=found["process"],
        credentials=Credentials(token=found["token"], seed=found["seed"]),
    )
    other = await read_platform_login(platform.data_dir, "other")

    async with connect(login) as stolen, connect(other) as kept:
        assert stolen.is_ready
        await platform.fox("undeploy", "v1")

        async with asyncio.timeout(SOON_S):
            await stolen.closed.wait()
        assert kept.is_ready
    with pytest.raises(NatsUnavailable):
        async with buses.connect(
            login.url, process_id="p", credentials=login.credentials, first_connect_s=1
        ):
            pass
