"""The commands of the operations pages work on a real platform."""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.demo.platform import Platform
from tests.e2e.documents import blocks, page, run_script

SHOP = """\
fox init shop && cd shop
fox apply -f environments.yaml
fox deploy shop-v1
fox release shop-v1 --virtual-env dev-me
"""


async def run(platform: Platform, script: str, folder: Path) -> str:
    """Run commands of a page against a platform, and return their output."""
    script = script.replace("http://127.0.0.1:8080", platform.http_url)
    return await run_script(script, cwd=folder, FOX_DATA_DIR=str(platform.data_dir))


async def test_the_audit_log_is_listed(tmp_path: Path) -> None:
    async with Platform(tmp_path / ".kubefox") as platform:
        text = await run(
            platform, SHOP + "".join(blocks(page("operations/security"), "sh")), tmp_path
        )

    assert "PUT /v1/deployments/{name}" in text


async def test_a_platform_is_restored_from_a_backup(tmp_path: Path) -> None:
    back_up, restore, *_ = blocks(page("operations/backup"), "sh")
    async with Platform(tmp_path / ".kubefox") as platform:
        await run(platform, SHOP, tmp_path)

    # The records of an embedded server cannot be lost apart from the folder.
    assert not (tmp_path / ".kubefox" / "records-in-nats").exists()
    await run_script(back_up, cwd=tmp_path)
    shutil.rmtree(tmp_path / ".kubefox")
    await run_script(restore, cwd=tmp_path)
    async with Platform(tmp_path / "restored") as platform:
        # Until the pod is ready again, clients get 503 with Retry-After.
        visit = "curl --retry 30 http://127.0.0.1:8080/dev/shop"
        text = await run(platform, visit, tmp_path)

    assert text.endswith("Hello from dev-me!\n")


async def test_nats_server_accepts_the_configuration_that_is_shown(tmp_path: Path) -> None:
    one, cluster = blocks(page("operations/install"), "sh")

    for script in (one, cluster):
        assert "is valid" in await run_script(script, cwd=tmp_path)
