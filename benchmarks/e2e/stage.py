"""Everything that runs during one start: the contestants, each in processes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.contestants import EXPLICIT, contestant, start_everyone
from benchmarks.e2e.kubefox import (
    FIRST,
    KubeFox,
    deploy_app,
    deploy_copies,
    port_of,
    serve_http,
    start_apart,
    url_path,
)
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Contestant

WORKERS = 2


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The contestants of one start.

    Attributes:
        everyone: Those who do the same work, by their names; one deployment.
        estates: Numbers of deployments that share the same pods, in ascending order.
        workers: The HTTP adapter with one worker, and with more.
    """

    everyone: dict[str, Contestant]
    estates: Sequence[Contestant]
    workers: Sequence[Contestant]


async def set_up(
    folder: Path, stack: AsyncExitStack, deployments: Sequence[int], turn: int
) -> Stage:
    """Start all contestants.

    Args:
        folder: For them; empty.
        stack: Ends them.
        deployments: Of each estate, in ascending order from 1.
        turn: Number of the start. Who starts first makes a difference, so it changes.
    """
    first, *further = deployments
    assert first == 1
    found: dict[int, Contestant] = {}
    everyone: dict[str, Contestant] = {}
    workers: list[Contestant] = []
    for count in deployments if turn % 2 == 0 else reversed(deployments):
        own = folder / f"estate-{count}"
        own.mkdir()
        programs = Programs(own, stack)
        kubefox = await start_apart(programs)
        await deploy_app(kubefox, programs)
        if count in further:
            found[count] = await _estate(kubefox, count)
            continue
        everyone = {each.name: each for each in await start_everyone(programs, kubefox)}
        workers = await _workers(programs, kubefox, everyone[EXPLICIT])
    one = msgspec.structs.replace(everyone[EXPLICIT], name="1 deployment", baseline="")
    return Stage(
        everyone=everyone, estates=[one, *(found[count] for count in further)], workers=workers
    )


async def _estate(kubefox: KubeFox, count: int) -> Contestant:
    """Deploy the same content under many names; return the contestant that is asked for all."""
    names = [FIRST, *(f"bench-{number}" for number in range(2, count + 1))]
    await deploy_copies(kubefox, names[1:])
    paths = [url_path("direct", name) for name in names]
    pods = await kubefox.pods("direct")
    label = f"{count:,} deployments"
    return contestant(label, kubefox, pods["direct"], *paths, baseline="1 deployment")


async def _workers(programs: Programs, kubefox: KubeFox, single: Contestant) -> list[Contestant]:
    http = await serve_http(programs, kubefox.nats_url, workers=WORKERS)
    one = msgspec.structs.replace(single, name="1 worker", baseline="")
    more = msgspec.structs.replace(
        single,
        name=f"{WORKERS} workers",
        port=port_of(http),
        processes={**single.processes, "adapter": http.family},
        baseline=one.name,
    )
    return [one, more]
