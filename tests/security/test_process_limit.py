"""A pod cannot start processes without end, and its limit counts its own processes only."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.security import spy_app
from tests.security.running import RunningPlatform, run_fox, run_platform
from tests.security.users import as_another_user, needs_readable_checkout

# The kernel sets no such limit for root, so these processes are of another user.
pytestmark = needs_readable_checkout

HOST = "127.0.0.1"
LIMIT = 64
MOST = 200
"""A process that is not limited stops here."""
_ALLOWED = """
from broker.runtime.allowed_namespaces import allowed
import msgspec, sys
sys.stdout.write(msgspec.json.encode(allowed()).decode())
"""
_BOMB = f"""
import os, signal, sys
from broker.runtime.confinement import Confinement, confine_self

confine_self(Confinement(
    hidden=(sys.argv[1] + "/missing",), processes={LIMIT}, counts_processes=True,
))
children = []
try:
    while len(children) < {MOST}:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except BlockingIOError:
    pass
print(len(children), flush=True)
sys.stdin.readline()
for child in children:
    os.kill(child, signal.SIGKILL)
"""
_FOX = """
import runpy, sys
sys.argv = ["fox", *sys.argv[2:]]
runpy.run_module("fox.cli", run_name="__main__")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that becomes that of another user."""
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
        # Whatever the umask: another user passes these folders.
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.fixture(autouse=True)
def _allowed(folder: Path) -> None:
    found = json.loads(subprocess.check_output(as_another_user(folder, _ALLOWED), text=True))
    if not found.get("counts_processes"):
        pytest.skip("this system counts the processes of a user in all namespaces together")


@contextlib.contextmanager
def fork_bomb(folder: Path) -> Iterator[int]:
    """Start processes until that is refused; return how many there are, and keep them."""
    with subprocess.Popen(
        as_another_user(folder, _BOMB),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("\n")


def test_processes_of_one_user_have_limits_of_their_own(folder: Path) -> None:
    with fork_bomb(folder) as first, fork_bomb(folder) as second:
        counts = [first, second]

    assert counts == [LIMIT - 1, LIMIT - 1]


@pytest.fixture
def platform(folder: Path) -> Iterator[RunningPlatform]:
    """A platform of another user, with one pod."""
    spy_app.build(folder / "app")
    with run_platform(
        folder / "data",
        command=as_another_user(folder, _FOX, "up"),
        HOME=str(folder / "home"),
        XDG_STATE_HOME=str(folder / "home"),
        FOX_POD_PROCESSES=str(LIMIT),
    ) as platform:
        access = {
            "FOX_CONTROL_URL": platform.info.control_url,
            "FOX_TOKEN": platform.owners_token,
        }
        for arguments in (("apply", "-f", "environments.yaml"), ("deploy", "v1", "--dirty")):
            done = run_fox(folder / "app", *arguments, **access)
            assert done.returncode == 0, done.stderr
        # A request waits for the first pod for a few seconds only.
        platform.wait_line("is ready after")
        yield platform


def get(platform: RunningPlatform, path: str) -> str:
    """Return the answer of the component."""
    with contextlib.closing(http.client.HTTPConnection(HOST, platform.http_port)) as connection:
        connection.request("GET", f"{path}kf-dep=v1&kf-ve=here")
        answer = connection.getresponse()
        text = answer.read().decode()
    assert answer.status == HTTPStatus.OK, text
    return text


def test_a_fork_bomb_in_a_pod_is_refused_and_the_pod_goes_on(platform: RunningPlatform) -> None:
    before = json.loads(get(platform, "/facts?"))

    count = int(get(platform, f"/fork?most={MOST}&"))

    assert before["uid"] != os.getuid()
    assert before["processes"] == [LIMIT, LIMIT]
    assert 0 < count < LIMIT
    assert json.loads(get(platform, "/facts?"))["pid"] == before["pid"]
