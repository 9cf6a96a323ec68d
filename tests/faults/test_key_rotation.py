"""The platform's keys rotate under load: every answer is counted, and none is a failure."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.support.job import Job
from benchmarks.support.load import Generator, open_generator
from examples.demo.platform import Platform, wait_for
from tests.faults import emitting_app
from tests.faults.parts import Parts, open_parts
from tests.faults.two_component_app import environments
from tests.support.nats import NatsServer

pytestmark = pytest.mark.faults

ROTATIONS = 3
CONTEXTS = 60
SOON_S = 60
SECRET = "metadata: { name: dev }\ndata: { vars: {}, secrets: { token: t0p-s3cret } }\n"


@pytest.fixture
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest.fixture
async def parts(own_secured_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Parts]:
    async with open_parts(own_secured_nats_server, tmp_path, runners=1) as parts:
        yield parts


async def test_no_request_fails_while_all_keys_rotate(
    generator: Generator, parts: Parts, tmp_path: Path
) -> None:
    document, paths = environments(CONTEXTS)
    (tmp_path / "many.yaml").write_text(document)
    await parts.fox("apply", "-f", tmp_path / "many.yaml")
    (tmp_path / "secret.yaml").write_text(
        "apiVersion: kubefox.xigxog.io/v1alpha1\nkind: Environment\n" + SECRET
    )
    job = Job(
        port=parts.http.port,
        paths=tuple(paths),
        connections=20,
        duration_s=2,
        rate_per_s=60,
        grace_s=20,
    )

    async def rotate() -> None:
        for number in range(ROTATIONS):
            # A change, so that events in flight name several revisions.
            text = (tmp_path / "secret.yaml").read_text()
            (tmp_path / "secret.yaml").write_text(text.replace("t0p", f"t0p{number}"))
            await parts.fox("apply", "-f", tmp_path / "secret.yaml")
            await parts.fox("rotate-keys", "--all")

    rotating = asyncio.create_task(rotate())
    failures: Counter[str] = Counter()
    answers = 0
    while not rotating.done():
        outcome = await generator.run(job)
        failures.update(outcome.failures)
        answers += outcome.answers
    await rotating

    assert failures == {}
    assert answers >= CONTEXTS


async def test_events_that_wait_are_delivered_after_all_keys_were_replaced(
    tmp_path: Path,
) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()
    async with Platform(tmp_path / "data") as platform:
        await emitting_app.deploy(platform, tmp_path / "app")
        await emitting_app.emit(platform, ["early"], signs, delay_s=8)
        await platform.fox("rotate-keys", "--all")
        await emitting_app.emit(platform, ["late"], signs, delay_s=1)
        await platform.fox("rotate-keys", "--all")

        async def are_done() -> bool:
            return set(emitting_app.done(signs)) == {"early", "late"}

        await wait_for(are_done, SOON_S)
