"""The CLI believes ``.kubefox/platform.json`` only if nobody else can have written it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fox.cli.support.connection import connect
from fox.data_dir import PlatformInfo, open_data_dir
from kubefox.errors import InvalidRequest
from tests.fox.cli.conftest import STOP_S
from tests.security.test_foreign_folder import FOX
from tests.security.users import NOBODY, needs_root
from tests.support.repository import Repository, app_files

URL = "http://127.0.0.1:1234"
SECRETS = """
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: dev}
data: {secrets: {password: s3cret}}
"""


class Listener:
    """A port of the author of a hostile repository."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        server.setblocking(False)
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"

    def was_called(self) -> bool:
        """Return whether somebody has connected, at whatever time before."""
        try:
            self.server.accept()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Listener(server)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data folder of a platform, with its file."""
    folder = tmp_path / ".kubefox"
    with open_data_dir(folder) as opened:
        opened.write_info(PlatformInfo(pid=1, control_url=URL))
        content = (folder / "platform.json").read_bytes()
    write(folder, content)
    return folder


def write(folder: Path, content: bytes | str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / "platform.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(0o600)


def hostile_clone(tmp_path: Path, files: dict[str, str | bytes]) -> Path:
    """Return a clone of a repository whose author has committed ``files``."""
    theirs = Repository(tmp_path / "theirs")
    theirs.write({**app_files("shop", "api"), **files})
    theirs.commit()
    mine = tmp_path / "mine"
    subprocess.run(["git", "clone", "--quiet", theirs.root, mine], check=True)
    return mine


def run_fox(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FOX_")}
    return subprocess.run(
        [FOX, *arguments],
        cwd=folder,
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_S,
    )


def test_a_cloned_file_gets_no_secret(tmp_path: Path, listener: Listener) -> None:
    info = json.dumps({"pid": 1, "control_url": listener.url})
    clone = hostile_clone(tmp_path, {".kubefox/platform.json": info})

    done = run_fox(clone, "apply", "-f", "-", stdin=SECRETS)

    assert done.returncode == 1
    assert "is tracked by Git" in done.stderr
    assert "delete it" in done.stderr
    assert "--control-url" in done.stderr
    assert not listener.was_called()


def test_a_cloned_link_to_a_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = json.dumps({"pid": 1, "control_url": URL})
    clone = hostile_clone(tmp_path, {"components/api/platform.json": info})
    (clone / ".kubefox").symlink_to("components/api")
    monkeypatch.chdir(clone)

    with pytest.raises(InvalidRequest, match="is a symbolic link"):
        connect(None, None)


def test_a_platform_is_not_started_on_a_cloned_data_folder(tmp_path: Path) -> None:
    clone = hostile_clone(tmp_path, {".kubefox/nats/planted": ""})

    done = run_fox(clone, "up", "--http-port", "0", "--control-port", "0")

    assert done.returncode == 1
    assert "data folder .kubefox is tracked by Git" in done.stderr
    assert not (clone / ".kubefox/lock").exists()


def test_the_file_of_a_platform_in_a_repository_is_believed(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path)
    repository.write(app_files("shop", "api"))
    repository.commit()
    monkeypatch.chdir(tmp_path / "components" / "api")

    assert connect(None, None).url == URL
    assert data_dir.name not in repository.git("ls-files")


def test_a_file_that_is_only_in_the_index_is_not_believed(tmp_path: Path, data_dir: Path) -> None:
    repository = Repository(tmp_path)
    repository.git("add", "--force", ".kubefox/platform.json")

    with pytest.raises(InvalidRequest, match="is tracked by Git"):
        connect(None, data_dir)


def test_a_repository_that_cannot_be_read_is_not_believed(tmp_path: Path, data_dir: Path) -> None:
    Repository(tmp_path)
    (tmp_path / ".git/index").write_bytes(b"broken")

    with pytest.raises(InvalidRequest, match=r"is not believed: .* git ls-files"):
        connect(None, data_dir)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_believed(data_dir: Path, mode: int) -> None:
    (data_dir / "platform.json").chmod(mode)

    with pytest.raises(InvalidRequest, match=r"other users may write to it .chmod 600"):
        connect(None, data_dir)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_is_not_believed(data_dir: Path, mode: int) -> None:
    data_dir.chmod(mode)

    with pytest.raises(InvalidRequest, match=r"other users may write to folder .* chmod 700"):
        connect(None, data_dir)


@needs_root
def test_a_file_of_another_user_is_not_believed(data_dir: Path) -> None:
    os.chown(data_dir / "platform.json", NOBODY, NOBODY)

    with pytest.raises(InvalidRequest, match=f"it belongs to user {NOBODY}, and you are user 0"):
        connect(None, data_dir)


@needs_root
def test_a_folder_of_another_user_is_not_believed(data_dir: Path) -> None:
    os.chown(data_dir, NOBODY, NOBODY)

    with pytest.raises(InvalidRequest, match=f"belongs to user {NOBODY}"):
        connect(None, data_dir)


def test_a_link_to_a_file_is_not_followed(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "platform.json").replace(tmp_path / "elsewhere")
    (data_dir / "platform.json").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InvalidRequest, match="it is a symbolic link"):
        connect(None, data_dir)


def test_a_given_url_needs_no_file(data_dir: Path) -> None:
    data_dir.chmod(0o777)

    assert connect("http://127.0.0.1:9", data_dir).url == "http://127.0.0.1:9"
