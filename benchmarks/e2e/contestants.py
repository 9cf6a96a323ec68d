"""The contestants: the floor, KubeFox and alternatives to it. All answer with 512 bytes."""

from __future__ import annotations

import asyncio
import itertools
import sys

import msgspec

from benchmarks.e2e import envoy
from benchmarks.e2e.kubefox import FIRST, KubeFox, url_path
from benchmarks.support.programs import Program, Programs
from benchmarks.support.rounds import Contestant

FLOOR = "floor"
FLOOR_HOP = "floor, two requests"
EXPLICIT = "KubeFox, explicit URL"
PLAIN = "KubeFox, plain URL"
HOP = "KubeFox, explicit URL and a hop"
BARE = "bare aiohttp"
MICRO = "aiohttp and a nats micro service"
ENVOY = "Envoy and aiohttp"
MESH = "Envoy, aiohttp, Envoy, aiohttp"

_LISTENING = r"listening (\d+)"
_READY = "(ready)"
_MODULE = "benchmarks.e2e"
# All contestants parse the same request.
_PATH = url_path("direct", FIRST)
_numbers = itertools.count(1)


async def start_contestants(programs: Programs, kubefox: KubeFox) -> list[Contestant]:
    """Start the other contestants beside KubeFox, on its nats-server; return all of them."""
    floors, peers, proxied = await asyncio.gather(
        _floors(programs, kubefox), _peers(programs, kubefox), _behind_envoy(programs)
    )
    return [*floors, *await kubefox_contestants(kubefox), *peers, *proxied]


async def kubefox_contestants(kubefox: KubeFox) -> list[Contestant]:
    """Return KubeFox with an explicit URL, a plain URL, and a call between components."""
    pods = await kubefox.pods("direct", "front", "back")
    return [
        contestant(EXPLICIT, kubefox, pods["direct"], url_path("direct", FIRST)),
        contestant(PLAIN, kubefox, pods["direct"], url_path("direct")),
        contestant(
            HOP,
            kubefox,
            pods["front"] + pods["back"],
            url_path("hop", FIRST),
            baseline=FLOOR_HOP,
        ),
    ]


def contestant(
    name: str, kubefox: KubeFox, pods: tuple[int, ...], *paths: str, baseline: str = FLOOR
) -> Contestant:
    """Return KubeFox as a contestant that serves ``paths`` with ``pods``."""
    return Contestant(
        name=name,
        port=kubefox.http_port,
        paths=paths,
        processes={**kubefox.processes, "pods": pods},
        baseline=baseline,
    )


async def _floors(programs: Programs, kubefox: KubeFox) -> list[Contestant]:
    near, behind, relay, one, two = await asyncio.gather(
        _on_nats(programs, kubefox, "responder", "floor.near"),
        _on_nats(programs, kubefox, "responder", "floor.behind"),
        _on_nats(programs, kubefox, "relay", "floor.relay", "floor.behind"),
        _on_nats(programs, kubefox, "server", "floor.near"),
        _on_nats(programs, kubefox, "server", "floor.relay"),
    )
    return [
        _over_nats(FLOOR, one, kubefox, near),
        _over_nats(FLOOR_HOP, two, kubefox, relay, behind),
    ]


async def _peers(programs: Programs, kubefox: KubeFox) -> list[Contestant]:
    bare, service, server = await asyncio.gather(
        _module(programs, "bare", ready=_LISTENING),
        _module(programs, "micro", *kubefox.nats.arguments, "micro.answer", ready=_READY),
        _on_nats(programs, kubefox, "server", "micro.answer"),
    )
    return [
        _over_http(BARE, int(bare.ready_text), {"server": bare}),
        _over_nats(MICRO, server, kubefox, service),
    ]


async def _behind_envoy(programs: Programs) -> list[Contestant]:
    """Start a server behind Envoy, and two servers in a mesh: each has a proxy in front."""
    if not envoy.is_installed():
        return []
    bare, behind = await asyncio.gather(
        _module(programs, "bare", ready=_LISTENING), _module(programs, "bare", ready=_LISTENING)
    )
    gateway_port, side_port, far_port = (envoy.free_port() for _ in range(3))
    url = f"http://127.0.0.1:{side_port}/?{envoy.QUERY}"
    gateway, side, caller = await asyncio.gather(
        envoy.start_envoy(programs, "envoy", gateway_port, int(bare.ready_text)),
        envoy.start_envoy(programs, "envoy-side", side_port, int(behind.ready_text)),
        _module(programs, "bare", url, ready=_LISTENING),
    )
    far = await envoy.start_envoy(programs, "envoy-far", far_port, int(caller.ready_text))
    return [
        _over_http(ENVOY, gateway_port, {"Envoy": gateway, "server": bare}),
        msgspec.structs.replace(
            _over_http(MESH, far_port, {}),
            processes={"Envoy": (far.pid, side.pid), "server": (caller.pid, behind.pid)},
            baseline=FLOOR_HOP,
        ),
    ]


def _over_http(name: str, port: int, programs: dict[str, Program]) -> Contestant:
    return Contestant(
        name=name,
        port=port,
        paths=(_PATH,),
        processes={role: (program.pid,) for role, program in programs.items()},
        baseline=FLOOR,
    )


def _over_nats(name: str, server: Program, kubefox: KubeFox, *pods: Program) -> Contestant:
    return Contestant(
        name=name,
        port=int(server.ready_text),
        paths=(_PATH,),
        processes={
            "adapter": (server.pid,),
            "NATS": kubefox.processes["NATS"],
            "pods": tuple(pod.pid for pod in pods),
        },
        baseline="" if name in {FLOOR, FLOOR_HOP} else FLOOR,
    )


async def _on_nats(programs: Programs, kubefox: KubeFox, role: str, *subjects: str) -> Program:
    ready = _LISTENING if role == "server" else _READY
    return await _module(programs, "floor", role, *kubefox.nats.arguments, *subjects, ready=ready)


async def _module(programs: Programs, name: str, *arguments: str, ready: str) -> Program:
    return await programs.start(
        f"{name}-{next(_numbers)}",
        *(sys.executable, "-m", f"{_MODULE}.{name}", *arguments),
        ready=ready,
    )
