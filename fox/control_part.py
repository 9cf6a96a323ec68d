"""The control part of a platform: the control plane with its API."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.metadata import version
from typing import NamedTuple, Protocol, TypeVar

from adapters import base as adapters
from adapters.cron.schedule import parse as check_schedule
from broker.dispatch.broker import Broker
from broker.dispatch.followers import Followers
from broker.dispatch.key_rotation import KeyRotation
from broker.dispatch.pod_runners import PodRunners
from broker.events.dead_letters import open_dead_letters
from broker.events.outbox import hashes_with_events
from broker.nats.bus import Bus
from broker.runtime.background import run_in_background
from broker.runtime.settings import Settings
from broker.storage.bundles import Bundles
from broker.storage.pod_board import PodBoard
from broker.storage.state_buckets import StateBuckets
from broker.storage.token_store import open_token_store
from broker.telemetry.collector import open_collector
from control.api.server import open_control_api
from control.control_plane import ControlPlane
from fox.certificates import Certificates
from fox.control_access import open_access
from fox.custom_resources.controller import Controller, open_controller
from fox.pod_runner import default_replicas
from fox.start_failures import listen_failures
from fox.status_checks import Sources, status_checks
from kubefox.share import PURPOSE
from pods.kubernetes.cluster import load_cluster

Entered = TypeVar("Entered")


class Enter(Protocol):
    """Enters a context into the stack of the process, which leaves it at the end."""

    async def __call__(self, context: AbstractAsyncContextManager[Entered], /) -> Entered:
        """Return what the context returns."""


class ControlParts(NamedTuple):
    """The parts of the process that control uses.

    Attributes:
        settings: Of the process.
        bus: Its connection to NATS.
        broker: Holds the data of the platform.
        board: Pods and pod runners.
        bundles: Code of component versions.
        readiness: Whether each part of the process is ready, by its name.
        is_embedded: Whether the process runs the NATS server.
        certificates: Of the process, for TLS.
    """

    settings: Settings
    bus: Bus
    broker: Broker
    board: PodBoard
    bundles: Bundles
    readiness: Mapping[str, Callable[[], bool]]
    is_embedded: bool
    certificates: Certificates


async def open_control(parts: ControlParts, enter: Enter) -> tuple[ControlPlane, str]:
    """Start the control plane and its API; return the control plane, and the URL of the API.

    Raises:
        InvalidRequest: Custom resources are to be applied, and there is no cluster.
        Unavailable: The port cannot be listened on.
    """
    settings, bus = parts.settings, parts.bus
    runners = PodRunners(bus, parts.board)
    followers = Followers(bus)
    await enter(followers.noting())
    control = _control_plane(parts, runners, followers)
    await enter(control.activator)
    await enter(control.keys.keeping_up())
    await enter(run_in_background(control.shares.sweep(), "removing ended shares"))
    tokens = await enter(open_token_store(bus))
    collector = await enter(open_collector(bus, parts.board))
    access = await enter(
        open_access(settings, tokens, parts.broker.telemetry.metrics, bus.process_id)
    )
    resources = None
    if settings.custom_resources:
        cluster = await asyncio.to_thread(load_cluster, os.environ)
        resources = Controller(bus, cluster, control, access.audit, bus.process_id)
        await enter(open_controller(resources))
    sources = Sources(
        settings=settings,
        bus=bus,
        is_embedded=parts.is_embedded,
        readiness=parts.readiness,
        board=parts.board,
        tokens=tokens,
        collector=collector,
        certificates=parts.certificates,
        resources=resources,
    )
    serving = open_control_api(
        control,
        runners,
        collector,
        await open_dead_letters(bus, parts.broker.contexts.resealed),
        tokens,
        access=access,
        host=settings.control_host,
        port=settings.control_port,
        version=version("kubefox"),
        readiness=parts.readiness,
        allowed_hosts=settings.control_names,
        certificate=parts.certificates.control,
        checks=status_checks(sources),
    )
    with listen_failures("--control-port"):
        return control, (await enter(serving)).url


def _control_plane(parts: ControlParts, runners: PodRunners, followers: Followers) -> ControlPlane:
    store = parts.broker.store
    return ControlPlane(
        store,
        parts.bundles,
        parts.board,
        adapters=frozenset(adapters.kinds()),
        check_schedule=check_schedule,
        states=StateBuckets(parts.bus),
        keys=KeyRotation(parts.bus, store),
        collect_garbage=runners.collect_garbage,
        find_waiting=partial(hashes_with_events, parts.bus),
        rollout_deadline_s=parts.settings.rollout_deadline_s,
        default_replicas=default_replicas(parts.settings),
        share_keys=partial(parts.broker.contexts.derived_keys, PURPOSE),
        wait_followed=followers.wait,
    )
