from __future__ import annotations

import asyncio
import json
from pathlib import Path

from broker import bus as buses
from broker.bundles import open_bundles
from broker.kv import KvBucket
from broker.state_buckets import bucket_of
from fox.data_dir import read_info
from tests.cli.conftest import Cli
from tests.cli.shop import make
from tests.support.bundles import age
from tests.support.repository import MAIN


def nats_url(platform: Path) -> str:
    info = read_info(platform)
    assert info is not None
    return info.nats_url


async def age_all(url: str) -> None:
    """Have all code be there for long."""
    async with buses.connect(url, process_id="test") as bus:
        bundles = await open_bundles(bus)
        await age(bundles, *(each.hash for each in await bundles.held()))


async def write_data(url: str, virtual_environment: str) -> None:
    async with buses.connect(url, process_id="test") as bus:
        await KvBucket(bus, bucket_of(virtual_environment)).put("key", b"value")


def test_what_nothing_names_is_shown_and_removed_from_nats_and_from_the_disk(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    shop = make(tmp_path, "pruned")
    # Code that no other test deploys: equal code is kept for whoever names it.
    shop.write({"components/api/main.py": f"{MAIN.format(name='api')}# of this test\n"})
    shop.commit()
    fox("deploy", "pruned-v1", "--app", shop.folder)
    stored = json.loads(fox("get", "deployments", "pruned-v1", "-o", "json").stdout)
    api, web = (stored["object"]["components"][each] for each in ("api", "web"))
    fox("undeploy", "pruned-v1")
    wait_gone(fox, {api, web})
    recent = fox("prune").stdout
    asyncio.run(age_all(nats_url(platform)))

    shown = fox("prune", "--dry-run").stdout
    done = json.loads(fox("prune", "-o", "json").stdout)
    nothing = fox("prune").stdout

    assert "pruned/api" not in recent
    # Other tests leave code too, whose names decide how wide the columns are.
    assert ["pruned/api", api[:12]] in [line.split()[:2] for line in shown.splitlines()]
    assert "would be removed" in shown
    assert {api, web} <= {each["hash"] for each in done["versions"]}
    assert nothing == "0 unused, 0.0 MB removed\n"
    assert not {api, web} & {each.name for each in (platform / "bundles").iterdir()}
    fox("deploy", "pruned-v2", "--app", shop.folder)
    fox("undeploy", "pruned-v2")


def wait_gone(fox: Cli, hashes: set[str]) -> None:
    """Return when no pod of ``hashes`` is left."""
    while hashes & {each["hash"] for each in json.loads(fox("get", "pods", "-o", "json").stdout)}:
        pass


def test_data_of_a_virtual_environment_that_never_was_goes_with_state_only(
    fox: Cli, platform: Path
) -> None:
    asyncio.run(write_data(nats_url(platform), "long-gone"))

    without = fox("prune", "--dry-run").stdout
    done = json.loads(fox("prune", "--state", "-o", "json").stdout)

    assert "long-gone" not in without
    assert "long-gone" in [each["virtual_environment"] for each in done["states"]]
