"""A change of a deployment under load: no request fails, whether the change succeeds or not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import Generator, open_generator
from examples.demo.platform import Finished, Platform
from tests.faults import two_component_app
from tests.faults.new_version import change_hashes
from tests.faults.two_component_app import API_PATH, WEB_PATH

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

RATE_PER_S = 100
JOB_S = 1.0
TESTING = "releasePolicy: {type: Testing}"
IN_POD = "import sys, time\nif 'pod' in sys.argv[0]: "
WAITING = """\
Path("{begun}").touch()
    while not Path("{end}").exists():
        await asyncio.sleep(0.02)"""

Result = TypeVar("Result")


class Deployed:
    """The app of two components, deployed as ``app`` and released: a load meets both kinds of URL.

    Args:
        platform: Runs the app.
        folder: The repository of the app.
        generator: Sends the load.
    """

    def __init__(self, platform: Platform, folder: Path, generator: Generator) -> None:
        self._platform = platform
        self._folder = folder
        self._generator = generator
        self._first = (folder / "components" / "api" / "main.py").read_text()
        self.sent = 0
        self.failures: Counter[str] = Counter()
        self.generation = 1

    async def begin(self) -> None:
        """Deploy the first code as a new version, and count from 0."""
        (self._folder / "components" / "api" / "main.py").write_text(self._first)
        change_hashes(self._folder)
        done = await self.fox("deploy", "app", "--dirty", "--wait")
        assert done.code == 0, done.err
        self.sent, self.failures = 0, Counter()
        deployments = await self._platform.get("deployments")
        (self.generation,) = (one["generation"] for one in deployments if one["name"] == "app")

    def change(self, answer: str, *, at_import: str = "") -> None:
        """Change the answer of the API, and the code that runs when a pod imports it."""
        path = self._folder / "components" / "api" / "main.py"
        source = path.read_text().partition(IN_POD)[0]
        head, _, tail = source.rpartition('return "')
        changed = f'{head}return "{answer}"\n'
        assert tail
        path.write_text(changed + (f"\n\n{IN_POD}{at_import}\n" if at_import else ""))

    def edit(self, old: str, new: str) -> None:
        """Replace a text in the code of the API."""
        path = self._folder / "components" / "api" / "main.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    async def fox(self, *arguments: str) -> Finished:
        """Run a ``fox`` command in the folder of the app."""
        return await self._platform.run(*arguments, cwd=self._folder)

    async def answer(self, path: str = API_PATH) -> str:
        """Return the text of one answer."""
        async with aiohttp.request("GET", self._platform.http_url + path) as response:
            return await response.text()

    async def under_load(self, change: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of a change; requests are sent before, during and after it."""
        await self._count(await self._load())
        changing = asyncio.create_task(change)
        while not changing.done():
            await self._count(await self._load())
        await self._count(await self._load())
        return await changing

    async def _load(self) -> Outcome:
        job = Job(
            port=urlsplit(self._platform.http_url).port or 0,
            paths=(API_PATH, WEB_PATH, "/api", "/web"),
            connections=50,
            duration_s=JOB_S,
            rate_per_s=RATE_PER_S,
            # A POST is neither held nor sent again when it finds no pod.
            body_bytes=1,
            grace_s=20,
        )
        return await self._generator.run(job)

    async def _count(self, outcome: Outcome) -> None:
        self.sent += outcome.answers
        self.failures.update(outcome.failures)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """A platform with the app, which is released."""
    folder = tmp_path_factory.mktemp("rollouts")
    async with Platform(folder / "data") as platform, open_generator() as generator:
        app = folder / "app"
        await two_component_app.deploy(platform, app)
        environments = app / "environments.yaml"
        environments.write_text(
            environments.read_text().replace(
                "{environment: base}", f"{{environment: base, {TESTING}}}"
            )
        )
        await platform.fox("apply", "-f", "environments.yaml", cwd=app)
        await platform.fox("release", "app", "--virtual-env", "here", cwd=app)
        yield Deployed(platform, app, generator)


@pytest_asyncio.fixture(loop_scope="module")
async def deployed(shared: Deployed) -> Deployed:
    """The app of the shared platform, with new pods and its first answer."""
    await shared.begin()
    return shared


@pytest.mark.parametrize("import_s", [0, 3])
async def test_no_request_fails_when_a_deployment_changes(
    deployed: Deployed, import_s: int
) -> None:
    deployed.change("changed", at_import=f"time.sleep({import_s})")

    done = await deployed.under_load(deployed.fox("deploy", "app", "--dirty"))

    assert done.code == 0, done.err
    assert deployed.failures == {}
    assert deployed.sent >= 3 * RATE_PER_S * JOB_S
    assert await deployed.answer() == await deployed.answer("/web") == "changed"


async def test_a_request_in_flight_finishes_on_the_code_that_it_began_with(
    deployed: Deployed, tmp_path: Path
) -> None:
    begun, end = tmp_path / "begun", tmp_path / "end"
    deployed.edit("import asyncio", "import asyncio\nfrom pathlib import Path")
    deployed.edit("await asyncio.sleep(0.02)", WAITING.format(begun=begun, end=end))
    assert (await deployed.fox("deploy", "app", "--dirty")).code == 0
    in_flight = asyncio.create_task(deployed.answer("/web"))
    while not begun.exists():
        await asyncio.sleep(0.02)

    deployed.change("changed")
    deployed.edit(f'Path("{end}").exists()', "True")
    done = await deployed.fox("deploy", "app", "--dirty")

    assert done.code == 0, done.err
    assert await deployed.answer("/web") == "changed"
    assert not in_flight.done()
    end.touch()
    assert await in_flight == "done"


async def test_no_request_fails_when_the_new_code_dies_at_start(deployed: Deployed) -> None:
    deployed.change("changed", at_import="sys.exit('no disk')")

    done = await deployed.under_load(deployed.fox("deploy", "app", "--dirty"))

    assert done.code == 1
    assert f"app stays at generation {deployed.generation}" in done.err
    assert "see `fox logs api`" in done.err
    assert deployed.failures == {}
    assert await deployed.answer() == await deployed.answer("/web") == "done"


async def test_no_request_fails_when_a_change_is_undone(deployed: Deployed) -> None:
    deployed.change("changed")
    assert (await deployed.fox("deploy", "app", "--dirty")).code == 0

    done = await deployed.under_load(deployed.fox("undo", "app"))

    assert done.code == 0, done.err
    assert deployed.failures == {}
    assert await deployed.answer() == await deployed.answer("/web") == "done"


@pytest.mark.parametrize("drop", ["rollback", "abort"])
async def test_dropping_a_pending_release_keeps_the_active_one(
    deployed: Deployed, drop: str
) -> None:
    deployed.change("changed", at_import="time.sleep(600)")
    await deployed.fox("deploy", "broken", "--dirty", "--no-wait")
    pending = await deployed.fox("release", "broken", "--virtual-env", "here", "--no-wait")
    assert "is pending" in pending.out

    done = await deployed.under_load(deployed.fox(drop, "--virtual-env", "here"))

    assert done.code == 0, done.err
    assert deployed.failures == {}
    assert await deployed.answer("/web") == "done"
