"""Run one node: ``python -m tests.kubernetes.node_agent KUBECONFIG NAME NUMBER FOLDER PROGRAM``.

The number, 1 to 254, is the second one of the addresses of its pods: ``127.NUMBER.0.0/16``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from pods.kubernetes.api import open_api
from pods.kubernetes.cluster import read_kubeconfig
from tests.kubernetes.node_agent.node import Node


async def run(kubeconfig: Path, name: str, number: int, folder: Path, program: Path) -> None:
    """Run the node until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with open_api(read_kubeconfig(kubeconfig)) as api:
        serving = asyncio.create_task(Node(api, name, number, folder, program).run())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    kubeconfig, name, number, folder, program = sys.argv[1:]
    asyncio.run(run(Path(kubeconfig), name, int(number), Path(folder), Path(program)))
