"""The contestants of one start, each in its own processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.e2e.contestants import EXPLICIT, contestant, start_contestants
from benchmarks.e2e.kubefox import (
    FIRST,
    KubeFox,
    deploy_app,
    deploy_copies,
    port_of,
    serve_http,
    start_separately,
    url_path,
)
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Contestant

WORKERS = 2


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The contestants of one start.

    Attributes:
        contestants: The contestants that do the same work, by name; KubeFox has one deployment.
        shared_pods: KubeFox with several numbers of deployments on the same pods, ascending.
        workers: KubeFox with one worker of the HTTP adapter, and with several.
    """

    contestants: dict[str, Contestant]
    shared_pods: Sequence[Contestant]
    workers: Sequence[Contestant]


async def set_up(
    folder: Path, stack: AsyncExitStack, deployments: Sequence[int], start: int
) -> Stage:
    """Start all contestants.

    Args:
        folder: Empty folder for their files.
        stack: Unwinding it ends the contestants.
        deployments: Numbers of deployments that share pods, in ascending order from 1.
        start: Number of the start. The order of starting has an effect, so it alternates.
    """
    first, *further = deployments
    assert first == 1
    found: dict[int, Contestant] = {}
    contestants: dict[str, Contestant] = {}
    workers: list[Contestant] = []
    for count in deployments if start % 2 == 0 else reversed(deployments):
        own = folder / f"deployments-{count}"
        own.mkdir()
        programs = Programs(own, stack)
        kubefox = await start_separately(programs)
        await deploy_app(kubefox, programs)
        if count in further:
            found[count] = await _deployments(kubefox, count)
            continue
        contestants = {
            contestant.name: contestant for contestant in await start_contestants(programs, kubefox)
        }
        workers = await _workers(programs, kubefox, contestants[EXPLICIT])
    one = msgspec.structs.replace(contestants[EXPLICIT], name="1 deployment", baseline="")
    return Stage(
        contestants=contestants,
        shared_pods=[one, *(found[count] for count in further)],
        workers=workers,
    )


async def _deployments(kubefox: KubeFox, count: int) -> Contestant:
    """Deploy the same content under many names; return a contestant that serves all of them."""
    names = [FIRST, *(f"bench-{number}" for number in range(2, count + 1))]
    await deploy_copies(kubefox, names[1:])
    paths = [url_path("direct", name) for name in names]
    pods = await kubefox.pods("direct")
    label = f"{count:,} deployments"
    return contestant(label, kubefox, pods["direct"], *paths, baseline="1 deployment")


async def _workers(programs: Programs, kubefox: KubeFox, single: Contestant) -> list[Contestant]:
    http = await serve_http(programs, kubefox.nats, workers=WORKERS)
    one = msgspec.structs.replace(single, name="1 worker", baseline="")
    more = msgspec.structs.replace(
        single,
        name=f"{WORKERS} workers",
        port=port_of(http),
        processes={**single.processes, "adapter": http.family},
        baseline=one.name,
    )
    return [one, more]
