"""A pod runs the code of its hash, whatever was put beside it on the disk."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from examples.demo.platform import Platform, wait_for
from tests.security import spy_app

SOON_S = 60
MAIN = '''\
"""Answers with the text of a module beside it."""

from fox import Context, Kit

import words

kit = Kit(title="Words")


@kit.route("Path(`/word`)")
async def word(ctx: Context) -> str:
    """Return the word."""
    return words.WORD
'''


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    app = tmp_path / "app"
    spy_app.build(app, MAIN)
    (app / "components" / spy_app.NAME / "words.py").write_text("WORD = 'reviewed'\n")
    async with Platform(tmp_path / "data") as platform:
        await platform.fox("apply", "-f", app / "environments.yaml")
        await platform.fox("deploy", "v1", "--dirty", "--wait", cwd=app)
        yield platform


async def ask(platform: Platform) -> str:
    """Return the word."""
    params = {"kf-dep": "v1", "kf-ve": "here"}
    async with aiohttp.request("GET", f"{platform.http_url}/word", params=params) as response:
        return await response.text()


async def restart_pod(platform: Platform) -> None:
    """Kill the pod, and wait until another one is ready."""
    (before,) = await platform.pods()
    os.kill(before["pid"], signal.SIGKILL)

    async def is_replaced() -> bool:
        pods = await platform.pods()
        return any(pod["phase"] == "ready" and pod["pid"] != before["pid"] for pod in pods)

    await wait_for(is_replaced, SOON_S)


async def test_planted_code_does_not_run(platform: Platform, tmp_path: Path) -> None:
    assert await ask(platform) == "reviewed"
    (bundle,) = (platform.data_dir / "bundles").iterdir()
    component = bundle / "components" / spy_app.NAME
    assert not list(bundle.rglob("*.pyc"))
    component.chmod(0o755)
    planted = tmp_path / "planted.py"
    planted.write_text("WORD = 'planted'\n")
    # Python runs such a file without a look at the source.
    py_compile.compile(
        str(planted),
        importlib.util.cache_from_source(str(component / "words.py")),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        doraise=True,
    )
    (component / "re.py").write_text("raise SystemExit('planted')\n")

    await restart_pod(platform)

    assert await ask(platform) == "reviewed"
    assert not list(bundle.rglob("*.pyc"))
    assert not list(bundle.rglob("re.py"))
    assert "it is unpacked again" in platform.log.read_text()
