from __future__ import annotations

import asyncio
import json
from pathlib import Path

from broker.nats.kv import KvBucket
from broker.storage.bundles import open_bundles
from broker.storage.state_buckets import bucket_of
from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import make
from tests.support.bundles import age
from tests.support.platform_nats import connect, read_platform_login
from tests.support.repository import MAIN


async def age_all(platform: Path) -> None:
    """Make all code older than an hour."""
    async with connect(await read_platform_login(platform, "test")) as bus:
        bundles = await open_bundles(bus)
        await age(bundles, *(bundle.hash for bundle in await bundles.all()))


async def write_data(platform: Path, virtual_environment: str) -> None:
    async with connect(await read_platform_login(platform, "test")) as bus:
        await KvBucket(bus, bucket_of(virtual_environment)).put("key", b"value")


def test_unused_code_is_listed_and_removed_from_nats_and_from_the_disk(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    shop = make(tmp_path, "pruned")
    # No other test deploys this code: equal code is kept while a deployment uses it.
    shop.write({"components/api/main.py": f"{MAIN.format(name='api')}# of this test\n"})
    shop.commit()
    fox("deploy", "pruned-v1", "--app", shop.folder)
    stored = json.loads(fox("get", "deployments", "pruned-v1", "-o", "json").stdout)
    api, web = (stored["object"]["components"][name] for name in ("api", "web"))
    fox("undeploy", "pruned-v1")
    wait_gone(fox, {api, web})
    recent = fox("prune").stdout
    asyncio.run(age_all(platform))

    shown = fox("prune", "--dry-run").stdout
    done = json.loads(fox("prune", "-o", "json").stdout)
    nothing = fox("prune").stdout

    assert "pruned/api" not in recent
    # Code of other tests is listed too, so the width of the columns is not known.
    assert ["pruned/api", api[:12]] in [line.split()[:2] for line in shown.splitlines()]
    assert "would be removed" in shown
    assert {api, web} <= {version["hash"] for version in done["versions"]}
    assert nothing == "0 unused, 0.0 MB removed\n"
    assert not {api, web} & {path.name for path in (platform / "bundles").iterdir()}
    fox("deploy", "pruned-v2", "--app", shop.folder)
    fox("undeploy", "pruned-v2")


def wait_gone(fox: Cli, hashes: set[str]) -> None:
    """Return when no pod of ``hashes`` is left."""
    while hashes & {pod["hash"] for pod in json.loads(fox("get", "pods", "-o", "json").stdout)}:
        pass


def test_data_of_an_unknown_virtual_environment_is_removed_with_state_only(
    fox: Cli, platform: Path
) -> None:
    asyncio.run(write_data(platform, "long-gone"))

    without = fox("prune", "--dry-run").stdout
    done = json.loads(fox("prune", "--state", "-o", "json").stdout)

    assert "long-gone" not in without
    assert "long-gone" in [state["virtual_environment"] for state in done["states"]]
