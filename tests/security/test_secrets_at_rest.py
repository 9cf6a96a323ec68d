"""No secret and no key can be read on the disk of NATS or in a backup of it."""

from __future__ import annotations

import base64
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from examples.demo.platform import CommandFailed, Platform
from fox.data_dir import KEY_FILE

SECRETS = ("correct-horse-battery", "staple-of-the-overlay", "second-thoughts")
VARIABLE = "visible-to-everybody"
ENVIRONMENTS = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: { name: dev }
data: { vars: { colour: %s }, secrets: { password: %s } }
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: { name: dev-me }
spec: { environment: dev }
data: { vars: { subPath: dev }, secrets: { token: %s } }
"""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform(tmp_path / "data") as platform:
        yield platform


def found_in(folder: Path, text: str) -> list[str]:
    """Return the names of the files below a folder that contain a text, also in base64."""
    forms = [text.encode(), *(base64.b64encode(f"{pad}{text}".encode())[8:-8] for pad in ("", "x"))]
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


async def apply(platform: Platform, folder: Path, password: str) -> None:
    (folder / "environments.yaml").write_text(ENVIRONMENTS % (VARIABLE, password, SECRETS[1]))
    await platform.fox("apply", "-f", folder / "environments.yaml")


async def test_the_data_of_nats_and_its_backup_show_no_secret_and_no_key(
    platform: Platform, tmp_path: Path
) -> None:
    key = (platform.data_dir / KEY_FILE).read_text().split()[-1]
    await platform.fox("init", "shop", cwd=tmp_path)
    await apply(platform, tmp_path, SECRETS[0])
    await platform.fox("deploy", "shop-v1", "--version", "v1", "--wait", cwd=tmp_path / "shop")
    await platform.fox("release", "shop-v1", "--virtual-env", "dev-me")
    await apply(platform, tmp_path, SECRETS[2])
    await platform.fox("rotate-keys", "--all")
    await platform.fox("release", "shop-v1", "--virtual-env", "dev-me")
    shown = await platform.fox("get", "environments", "-o", "json")
    await platform.stop()

    backup = tmp_path / "backup.tar"
    with tarfile.open(backup, "w") as archive:
        archive.add(platform.data_dir / "nats", "nats")
    with tarfile.open(backup) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")

    for folder in (platform.data_dir / "nats", tmp_path / "unpacked"):
        assert found_in(folder, VARIABLE)
        for hidden in (*SECRETS, key):
            assert found_in(folder, hidden) == []
    assert not any(secret in shown for secret in SECRETS)
    async with Platform(platform.data_dir) as again:
        assert "shop-v1" in await again.fox("get", "releases")


async def test_without_its_own_key_file_a_platform_does_not_start_and_changes_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    await apply(platform, tmp_path, SECRETS[0])
    await platform.stop()
    key_file = platform.data_dir / KEY_FILE
    own = key_file.read_text()

    for text in (None, base64.b64encode(b"x" * 32).decode(), "", "garbage"):
        key_file.unlink(missing_ok=True)
        if text is not None:
            write_key(key_file, text)
        with pytest.raises(CommandFailed, match=f"error: .*key file .*{KEY_FILE}"):
            await Platform(platform.data_dir).start()
        assert (key_file.read_text() if key_file.exists() else None) == text

    write_key(key_file, own)
    async with Platform(platform.data_dir) as again:
        assert "dev-me" in await again.fox("get", "virtual-environments")


def write_key(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)
