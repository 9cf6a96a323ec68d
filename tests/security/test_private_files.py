"""The data folder belongs to the platform's user, and nobody else can have filled it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fox.data_dir import PlatformInfo, open_data_dir
from kubefox.errors import InvalidRequest
from pods import private_files
from tests.security.users import NOBODY, call_as_nobody, needs_root, succeeds_as_nobody


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Whatever is made without care can be written by everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that everybody can reach, as ``/srv`` is."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & stat.S_IXOTH:
            break
        folder.chmod(0o755)
    return tmp_path


@pytest.mark.usefixtures("open_umask")
def test_a_new_data_folder_and_its_files_are_private(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "data") as data_dir:
        data_dir.write_info(PlatformInfo(pid=1, nats_url="nats://fox:s3cret@localhost"))

        assert mode(data_dir.path) == 0o700
        assert mode(data_dir.path / "platform.json") == 0o600
        assert mode(data_dir.path / "lock") == 0o600


def test_a_data_folder_that_others_can_read_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)

    with open_data_dir(tmp_path / "data") as data_dir:
        assert mode(data_dir.path) == 0o700


@pytest.mark.parametrize("permissions", [0o770, 0o707, 0o1777])
def test_a_data_folder_that_others_may_write_is_refused(tmp_path: Path, permissions: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(permissions)

    with (
        pytest.raises(InvalidRequest, match=r"other users may write to .*chmod 700"),
        open_data_dir(tmp_path / "data"),
    ):
        pass

    assert not any((tmp_path / "data").iterdir())


def test_a_link_to_a_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "target")

    with (
        pytest.raises(InvalidRequest, match="is a symbolic link: name its target"),
        open_data_dir(tmp_path / "data"),
    ):
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "lock").symlink_to(tmp_path / "made-by-the-platform")

    with pytest.raises(InvalidRequest, match="cannot be used"), open_data_dir(tmp_path):
        pass

    assert not (tmp_path / "made-by-the-platform").exists()


def test_a_link_in_place_of_the_new_platform_file_is_not_followed(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        (tmp_path / "platform.json.new").symlink_to(tmp_path / "elsewhere")

        data_dir.write_info(PlatformInfo(pid=1))

        assert not (tmp_path / "elsewhere").exists()
        assert not (tmp_path / "platform.json").is_symlink()


@needs_root
def test_a_data_folder_that_somebody_else_has_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    os.chown(tmp_path / "data", NOBODY, NOBODY)

    with (
        pytest.raises(InvalidRequest, match=f"belongs to user {NOBODY}"),
        open_data_dir(tmp_path / "data"),
    ):
        pass


@needs_root
def test_somebody_else_cannot_read_the_data_folder(shared: Path) -> None:
    with open_data_dir(shared / "data") as data_dir:
        data_dir.write_info(PlatformInfo(pid=1, nats_url="nats://fox:s3cret@localhost"))

        assert succeeds_as_nobody("ls", shared)
        assert not succeeds_as_nobody("ls", data_dir.path)
        assert not succeeds_as_nobody("cat", data_dir.path / "platform.json")


@needs_root
def test_a_volume_that_root_has_made_for_a_group_is_accepted(shared: Path) -> None:
    volume = shared / "volume"
    volume.mkdir()
    os.chown(volume, 0, NOBODY)
    volume.chmod(0o2770)

    refused = call_as_nobody(lambda: private_files.own_folder(volume))
    volume.chmod(0o2777)
    open_to_all = call_as_nobody(lambda: private_files.own_folder(volume))

    assert refused == ""
    assert "other users may write" in open_to_all


def test_a_process_of_the_platform_writes_no_core_files() -> None:
    program = (
        "import resource; from broker.runtime.private_process import keep_private; keep_private(); "
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", program], check=False, capture_output=True, text=True
    )

    assert done.stdout == "(0, 0)\n", done.stderr
