"""The death or the stop of control, and of one of two pod runners, under load."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from kubefox.pod import PodPhase
from tests.faults.parts import Parts, open_parts
from tests.faults.two_component_app import WEB_PATH, environments
from tests.support.nats import secured_nats_server

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

_WAITING = """\
import sys
import time
from pathlib import Path

while "pod" in sys.argv[0] and not Path({path!r}).exists():
    time.sleep(0.02)

"""
PODS = 4
"""Of two components, on each of two pod runners."""
RATE_PER_S = 100
LOAD_S = 2.0
REQUESTS = int(RATE_PER_S * LOAD_S)
# Each has one request in flight at most; far fewer than all requests.
CONNECTIONS = 50
GRACE_S = 20
"""Shorter than the time to live of a request: one that waits for its deadline is unanswered."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator() -> AsyncIterator[Generator]:
    async with open_generator() as generator:
        yield generator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parts]:
    folder = tmp_path_factory.mktemp("parts")
    with secured_nats_server(folder) as nats:
        async with open_parts(nats, folder, runners=2) as parts:
            yield parts


@pytest_asyncio.fixture(loop_scope="module")
async def parts(shared: Parts) -> AsyncIterator[Parts]:
    """The shared parts; each runs again after the test."""
    yield shared
    for name, runner in list(shared.pods.items()):
        if runner.process.returncode is not None:
            await shared.serve("pods", name)
    await shared.wait_ready(PODS)


def start_load(
    generator: Generator, parts: Parts, *paths: str, body_bytes: int = 0
) -> asyncio.Task[Outcome]:
    job = Job(
        port=parts.http.port,
        paths=paths,
        connections=CONNECTIONS,
        duration_s=LOAD_S,
        rate_per_s=RATE_PER_S,
        body_bytes=body_bytes,
        grace_s=GRACE_S,
    )
    return asyncio.create_task(generator.run(job))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_no_request_fails_when_control_ends(
    generator: Generator, parts: Parts, tmp_path: Path, how: signal.Signals
) -> None:
    # Each of these requests needs a view that no pod has: any broker gives it, control too.
    document, paths = environments(REQUESTS, how.name.lower())
    (tmp_path / "many.yaml").write_text(document)
    await parts.fox("apply", "-f", tmp_path / "many.yaml")
    before = await parts.wait_ready(PODS)

    load = start_load(generator, parts, *paths)
    await asyncio.sleep(LOAD_S / 2)
    await parts.control.end(how)
    outcome = await load
    parts.control = await parts.serve("control")

    assert outcome.failures == {}
    assert outcome.answers == REQUESTS
    assert await parts.wait_ready(PODS) == before


async def test_a_deploy_that_waits_goes_on_when_control_is_back(
    parts: Parts, tmp_path: Path
) -> None:
    folder, go = parts.folder / "app", tmp_path / "go"
    main = folder / "components" / "api" / "main.py"
    # The pods of the new code are ready when the file exists.
    main.write_text(_WAITING.format(path=str(go)) + main.read_text())

    deploying = asyncio.create_task(parts.fox("deploy", "app", "--dirty", cwd=folder))
    await parts.wait_pods(lambda pods: any(pod.phase is PodPhase.STARTING for pod in pods))
    # Control has answered the deploy long before it has answered this.
    await parts.fox("get", "deployments")
    port = parts.control.port
    await parts.control.end(signal.SIGKILL)
    parts.control = await parts.serve("control", control_port=port)
    go.touch()

    assert "deployment app is ready" in await deploying


async def test_a_change_waits_for_an_adapter_that_was_killed_and_names_it_then(
    parts: Parts, tmp_path: Path
) -> None:
    document, _ = environments(1, "changed")
    (tmp_path / "one.yaml").write_text(document)
    killed = await parts.serve("http", "http-2")
    commands = (
        ("release", "--none", "--virtual-env", "here"),
        ("deploy", "app", "--dirty", "--app", str(parts.folder / "app")),
        ("apply", "-f", str(tmp_path / "one.yaml")),
        ("delete", "virtual-environment", "changed-0"),
    )
    before = [(await parts.run(*command))[1] for command in commands]

    await killed.end(signal.SIGKILL)
    after = [(await parts.run(*command))[1] for command in commands]

    assert before == [""] * len(commands)
    warning = rf"warning: process \S+-{killed.process.pid} has not followed the change.*\n"
    assert [text for text in after if not re.fullmatch(warning, text)] == []


async def test_no_request_fails_when_one_of_two_pod_runners_is_replaced(
    generator: Generator, parts: Parts
) -> None:
    load = start_load(generator, parts, WEB_PATH, body_bytes=1)
    await asyncio.sleep(LOAD_S / 3)
    code = await parts.pods["pods-1"].end(signal.SIGTERM)
    await parts.serve("pods", "pods-1")
    outcome = await load

    assert code == 0
    assert outcome.failures == {}
    assert outcome.answers == REQUESTS
    pods = await parts.wait_ready(PODS)
    assert len({pod.runner for pod in pods}) == 2


async def test_no_request_fails_when_one_of_two_pod_runners_is_killed(
    generator: Generator, parts: Parts
) -> None:
    load = start_load(generator, parts, WEB_PATH, body_bytes=1)
    await asyncio.sleep(LOAD_S / 2)
    await parts.pods["pods-1"].end(signal.SIGKILL)
    outcome = await load

    # The pods notice it, and finish their requests.
    assert outcome.failures == {}
    assert outcome.answers == REQUESTS
    await parts.wait_ready(PODS // 2)


async def test_only_requests_in_flight_fail_when_a_pod_runner_dies_with_its_pods(
    generator: Generator, parts: Parts
) -> None:
    load = start_load(generator, parts, WEB_PATH, body_bytes=1)
    await asyncio.sleep(LOAD_S / 2)
    parts.pods["pods-1"].kill_with_pods()
    outcome = await load

    assert outcome.failures.keys() <= {"502"}
    assert outcome.failures.get("502", 0) <= CONNECTIONS
    assert outcome.answers == REQUESTS
    await parts.wait_ready(PODS // 2)
