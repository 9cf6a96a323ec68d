"""The platform of this benchmark: a victim and a flood, two environments on the same pods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from benchmarks.e2e.kubefox import (
    ENVIRONMENT,
    FIRST,
    KubeFox,
    deploy_app,
    deploy_copies,
    start_separately,
)
from benchmarks.support.programs import Programs

APP = Path(__file__).with_name("app")
FLOOD = "bench-2"
FLOOD_ENVIRONMENT = "flood"
COMPONENT = "busy"
SETTLE_S = 40
_POLL_S = 0.1


async def start(programs: Programs, settings: Mapping[str, str] | None = None) -> KubeFox:
    """Start the platform with its two deployments, each part a process of its own.

    Args:
        programs: Starts the processes.
        settings: Further variables of control and of the pods.
    """
    kubefox = await start_separately(programs, settings)
    await deploy(kubefox, programs)
    return kubefox


async def deploy(kubefox: KubeFox, programs: Programs) -> None:
    """Deploy the app under two names, and return when its pods are ready."""
    await deploy_app(kubefox, programs, APP)
    await deploy_copies(kubefox, [FLOOD])


def victim_path(path: str, query: str = "") -> str:
    """Return path and query of a request in the environment of the victim."""
    return _target(path, FIRST, ENVIRONMENT, query)


def flood_path(path: str, query: str = "") -> str:
    """Return path and query of a request in the environment of the flood."""
    return _target(path, FLOOD, FLOOD_ENVIRONMENT, query)


async def wait_settled(kubefox: KubeFox) -> None:
    """Return when no event is in flight in any pod."""
    async with asyncio.timeout(SETTLE_S):
        while await asyncio.to_thread(_in_flight, kubefox):  # noqa: ASYNC110 - others end them
            await asyncio.sleep(_POLL_S)


def _in_flight(kubefox: KubeFox) -> int:
    stats = kubefox.control.get("v1", "stats")
    return sum(int(component["all"]["in_flight"]) for component in stats["components"])


def _target(path: str, deployment: str, environment: str, query: str) -> str:
    selectors = f"kf-dep={deployment}&kf-ve={environment}"
    return f"/{path}?{query}&{selectors}" if query else f"/{path}?{selectors}"
