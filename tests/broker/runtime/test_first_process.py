"""SIGTERM reaches the first process of a container from its very start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.network import REQUIRED

END_S = 60
CONTAINER = ("unshare", "--fork", "--kill-child", "--pid")
WAIT = "import time; print('imported', flush=True); time.sleep(600)"
HELD = """
import os, signal, sys
from broker.runtime.first_process import hold_sigterm
hold_sigterm()
os.kill(os.getpid(), signal.SIGTERM)
print("held", flush=True)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    probe = [*CONTAINER, "true"]
    works = shutil.which("unshare") and subprocess.run(probe, check=False).returncode == 0
    if not works:
        assert os.environ.get(REQUIRED) != "required", "namespaces cannot be made"
        pytest.skip("process namespaces cannot be made")


@pytest.fixture
def container() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


def start(started: list[subprocess.Popen[str]], *arguments: str) -> subprocess.Popen[str]:
    """Run Python as the first process of a container."""
    process = subprocess.Popen(
        [*CONTAINER, sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def first_process_of(container: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text())


def test_sigterm_ends_a_command_that_is_still_importing(
    container: list[subprocess.Popen[str]],
) -> None:
    process = start(container, "-c", f"import fox.cli; {WAIT}")
    assert process.stdout is not None
    assert process.stdout.readline() == "imported\n"

    os.kill(first_process_of(process), signal.SIGTERM)

    assert process.wait(END_S) == 128 + signal.SIGTERM


def test_a_sigterm_between_two_programs_ends_the_second_one(
    container: list[subprocess.Popen[str]],
) -> None:
    process = start(container, "-c", HELD, "-m", "fox.kit.pod")

    said, errors = process.communicate(timeout=END_S)

    assert said == "held\n"
    assert process.returncode == 128 + signal.SIGTERM, errors


def loaded(module: str, *unwanted: str) -> set[str]:
    """Return the unwanted modules that a new process has loaded with a module."""
    script = f"import sys, {module}; print(*{{*{unwanted!r}}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {*done.stdout.split()}


def test_a_process_can_handle_sigterm_before_it_loads_nats() -> None:
    assert not loaded("broker.runtime.first_process", "nats", "aiohttp")


@pytest.mark.parametrize(
    "module", ["broker.nats.bus", "broker.storage.bundles", "broker.events.outbox"]
)
def test_the_client_of_nats_does_not_load_aiohttp(module: str) -> None:
    assert loaded(module, "nats", "aiohttp") == {"nats"}
