"""Previews: deployments, each released in a virtual environment of its own.

They are copies of a deployment that ``fox deploy`` made, written to the KV bucket as fast as NATS
accepts them: creating 100,000 of them through the control API would take minutes.
"""

from __future__ import annotations

import asyncio

import msgspec

from benchmarks.e2e.kubefox import FIRST
from benchmarks.support.nats_address import NatsAddress
from benchmarks.support.programs import POLL_S
from broker.nats.bus import Bus
from broker.storage.records_bucket import BUCKET
from kubefox import records
from kubefox.deployment import Deployment
from kubefox.environment import EnvironmentData, VirtualEnvironment
from kubefox.records import (
    Record,
    deployment_key,
    release_key,
    virtual_environment_key,
)
from kubefox.release import Release, ReleasedApp, ReleaseState

TESTING = "testing"
"""Environment of all previews, with the policy of that name."""
_IN_FLIGHT = 2_000
_CREATED_AT_S = 1_700_000_000.0


def preview_name(number: int) -> str:
    """Return the name of a preview's deployment and of its virtual environment."""
    return f"preview-{number}"


def plain_path(virtual_environment: str) -> str:
    """Return the path of the released component ``direct`` in a virtual environment."""
    return f"/{virtual_environment}/direct"


def explicit_path(number: int) -> str:
    """Return path and query of a preview's explicit URL."""
    name = preview_name(number)
    return f"{plain_path(name)}?kf-dep={name}&kf-ve={name}"


def virtual_environment(name: str, environment: str = TESTING) -> VirtualEnvironment:
    """Return a virtual environment whose plain URLs begin with its name."""
    data = EnvironmentData(vars={"subPath": name})
    return VirtualEnvironment(name=name, environment=environment, data=data)


async def write_previews(nats: NatsAddress, count: int) -> None:
    """Write so many previews into the bucket, and return when NATS has stored all of them."""
    async with nats.connect("benchmark") as bus:
        bucket = await bus.jetstream().key_value(BUCKET)
        key = deployment_key(FIRST)
        entry = await bucket.get(key)
        first = records.decode(key, entry.value or b"")
        assert isinstance(first, Deployment)
        sequence = await _last_sequence(bus)
        for number in range(count):
            for record_key, record in _preview(first, number):
                await bus.publish(f"$KV.{BUCKET}.{record_key}", records.encode(record))
                sequence += 1
            if number % _IN_FLIGHT == 0:
                await _wait_stored(bus, sequence)
        await _wait_stored(bus, sequence)


def _preview(first: Deployment, number: int) -> list[tuple[str, Record]]:
    name = preview_name(number)
    made_at_s = _CREATED_AT_S + number
    deployment = msgspec.structs.replace(first, name=name, version=None, created_at_s=made_at_s)
    release = Release(
        id=f"preview{number}",
        apps={first.app: ReleasedApp(deployment=name)},
        manifest=None,
        requested_at_s=made_at_s,
        activated_at_s=made_at_s,
    )
    return [
        (virtual_environment_key(name), virtual_environment(name)),
        (deployment_key(name), deployment),
        (release_key(name), ReleaseState(virtual_environment=name, active=release)),
    ]


async def _last_sequence(bus: Bus) -> int:
    return (await bus.jetstream().stream_info(f"KV_{BUCKET}")).state.last_seq


async def _wait_stored(bus: Bus, sequence: int) -> None:
    while await _last_sequence(bus) < sequence:  # noqa: ASYNC110 - NATS stores them
        await asyncio.sleep(POLL_S)
