"""The guardian outlives a driver, and ends with it when no pod is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pods.processes import is_gone, wait_until

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems have no guardian"
)

PROJECT = Path(__file__).parents[2]
DRIVER = """
import subprocess, time
from pods.guardian import GUARDIAN

pods = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
for pod in pods:
    GUARDIAN.add(pod.pid)
pods[0].kill()
pods[0].wait()
GUARDIAN.remove(pods[0].pid)
print(pods[1].pid, GUARDIAN.pid, flush=True)
time.sleep(600)
"""


async def start_driver() -> tuple[asyncio.subprocess.Process, int, int]:
    """Return a driver, and the ids of its pod and its guardian."""
    driver = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DRIVER), cwd=PROJECT, stdout=subprocess.PIPE
    )
    assert driver.stdout is not None
    pod, guardian = map(int, (await driver.stdout.readline()).split())
    return driver, pod, guardian


async def test_a_pod_that_does_not_end_is_killed_after_its_driver() -> None:
    driver, pod, guardian = await start_driver()
    os.kill(pod, signal.SIGSTOP)

    driver.kill()
    await driver.wait()

    await wait_until(lambda: is_gone(pod) and is_gone(guardian))


async def test_a_guardian_without_pods_ends_with_the_driver() -> None:
    driver, pod, guardian = await start_driver()
    os.kill(pod, signal.SIGKILL)

    driver.kill()
    await driver.wait()

    await wait_until(lambda: is_gone(guardian))
