"""Exec and port-forward of the pods of a node, by the program of the lab that serves them.

The program is the server that the API server asks. It passes requests for logs on to the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from broker.runtime.process_tree import end_with_parent
from tests.kubernetes.node_agent.server import FindContainer


def place_routes(find: FindContainer) -> list[web.RouteDef]:
    """Return the routes that tell where a pod is, and how a command runs in a container of it."""

    async def serve(request: web.Request) -> web.Response:
        names = request.match_info
        found = find(names["namespace"], names["pod"], request.query["container"])
        if found is None:
            raise web.HTTPNotFound(text="it does not exist on this node")
        return web.json_response(found.place(request.query.getall("command", [])))

    return [web.get("/places/{namespace}/{pod}", serve)]


@contextlib.asynccontextmanager
async def run_streaming(program: Path, address: str, agent_port: int) -> AsyncIterator[int]:
    """Run the program until the context ends; yield the port on which it listens.

    Args:
        program: The binary of ``tests.kubernetes.binary``.
        address: To listen on.
        agent_port: Of the agent, at the same address.
    """
    arguments = (f"--address={address}", f"--agent=https://{address}:{agent_port}")
    process = await asyncio.create_subprocess_exec(
        program,
        "streaming",
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
