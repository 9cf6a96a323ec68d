"""The code of a component runs with few rights: what it sees, what it may use."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from broker.runtime.allowed_namespaces import allowed
from broker.runtime.linux_calls import python_folders
from examples.demo.platform import Platform, wait_for
from tests.security import spy_app

pytestmark = pytest.mark.asyncio(loop_scope="module")

needs_namespaces = pytest.mark.skipif(
    not allowed().hides_folders, reason="this system allows no mount namespace"
)

KEY = "AWS_SECRET_ACCESS_KEY"
PASSED_ON = "KUBEFOX_TEST_PASSED_ON"
MEMORY_MIB = 256
OPEN_FILES = 300
SOON_S = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("spy")
    spy_app.build(folder / "app")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, "s3cret")
        patch.setenv(PASSED_ON, "named")
        patch.setenv("FOX_POD_ENV", f"{PASSED_ON}, NOT_SET")
        patch.setenv("FOX_POD_MEMORY_MIB", str(MEMORY_MIB))
        patch.setenv("FOX_POD_OPEN_FILES", str(OPEN_FILES))
        async with Platform(folder / "data") as platform:
            await platform.fox("apply", "-f", folder / "app" / "environments.yaml")
            await platform.fox("deploy", "v1", "--dirty", "--wait", cwd=folder / "app")
            yield platform


async def ask(platform: Platform, path: str, **query: str) -> tuple[int, Any]:
    """Return the status and the body of an answer."""
    params = {"kf-dep": "v1", "kf-ve": "here", **query}
    async with aiohttp.request("GET", platform.http_url + path, params=params) as response:
        return response.status, await response.json(content_type=None)


async def facts(platform: Platform) -> dict[str, Any]:
    """Return what the component sees."""
    status, body = await ask(platform, "/facts")
    assert status == 200, body
    found: dict[str, Any] = body
    return found


async def names(platform: Platform, folder: Path) -> Any:
    """Return the names that the component sees in a folder, or why it cannot."""
    _, body = await ask(platform, "/read", folder=str(folder))
    return body.get("names", body.get("error"))


def is_at_home(path: Path) -> bool:
    return Path.home() in path.parents and path.exists()


async def test_no_key_of_the_shell_reaches_a_component(platform: Platform) -> None:
    seen = await facts(platform)

    assert KEY not in str(seen)
    assert "s3cret" not in str(seen)


async def test_a_variable_that_the_settings_name_reaches_a_component(platform: Platform) -> None:
    seen = await facts(platform)

    assert seen["environ"][PASSED_ON] == "named"
    assert "PATH" in seen["environ"]
    assert "NOT_SET" not in seen["environ"]


async def test_no_credentials_of_nats_are_in_the_environment(platform: Platform) -> None:
    seen = await facts(platform)

    assert "FOX_NATS_LOGIN_FD" in seen["environ"]
    assert not re.search(r"\bS[AUO][A-Z2-7]{56}|eyJ", str(seen))


async def test_a_component_works_in_a_private_folder(platform: Platform) -> None:
    seen = await facts(platform)

    assert Path(seen["folder"]).parent == platform.data_dir / "work"
    assert seen["folder"] == seen["temporary"] == seen["environ"]["HOME"]
    assert seen["folder_mode"] == 0o700
    assert seen["file_mode"] == 0o600


@needs_namespaces
async def test_a_component_sees_only_its_own_folders_of_the_data_folder(
    platform: Platform,
) -> None:
    seen = await facts(platform)

    assert await names(platform, platform.data_dir) == ["bundles", "work"]
    assert await names(platform, platform.data_dir / "work") == [Path(seen["folder"]).name]
    assert len(await names(platform, platform.data_dir / "bundles")) == 1
    assert await names(platform, platform.data_dir / "nats") == "No such file or directory"


@needs_namespaces
async def test_a_component_sees_no_file_of_the_users_home_folder(platform: Platform) -> None:
    kept = {path.relative_to(Path.home()).parts[0] for path in python_folders() if is_at_home(path)}

    seen = await names(platform, Path.home())

    assert set(seen) == kept


async def test_a_component_gains_no_privilege_and_writes_no_core_file(platform: Platform) -> None:
    seen = await facts(platform)

    assert seen["no_new_privs"]
    assert seen["core"] == [0, 0]
    assert seen["open_files"] == [OPEN_FILES, OPEN_FILES]


async def test_a_handler_that_takes_too_much_memory_fails_alone(platform: Platform) -> None:
    before = await platform.pods()

    status, _ = await ask(platform, "/fill", bytes=str(2 * MEMORY_MIB << 20))

    assert status == 500
    assert await ask(platform, "/fill", bytes="1000000") == (200, 1_000_000)
    assert [pod["pid"] for pod in await platform.pods()] == [pod["pid"] for pod in before]


async def test_a_component_can_lower_its_limits_and_not_raise_them(
    platform: Platform, tmp_path: Path
) -> None:
    limits = {}
    for name, factor in (("lower", 0.5), ("higher", 2)):
        memory_mib, open_files = int(MEMORY_MIB * factor), int(OPEN_FILES * factor)
        declared = f'title="Spy", memory_mib={memory_mib}, open_files={open_files}'
        spy_app.build(tmp_path / name, spy_app.MAIN.replace('title="Spy"', declared))
        await platform.fox("deploy", name, "--dirty", "--wait", cwd=tmp_path / name)
        _, seen = await ask(platform, "/facts", **{"kf-dep": name})
        limits[name] = (seen["memory"], seen["open_files"])

    assert limits == {
        "lower": ([MEMORY_MIB // 2 << 20] * 2, [OPEN_FILES // 2] * 2),
        "higher": ([MEMORY_MIB << 20] * 2, [OPEN_FILES] * 2),
    }


async def test_the_working_folder_is_removed_with_its_pod(platform: Platform) -> None:
    folder = Path((await facts(platform))["folder"])
    assert (folder / "left" / "behind").is_dir()

    await platform.fox("undeploy", "v1")

    async def is_removed() -> bool:
        return not folder.exists()

    await wait_for(is_removed, SOON_S)
