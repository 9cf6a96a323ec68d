"""A process that hides folders does not see them, and cannot get them back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from broker.runtime.allowed_namespaces import allowed
from tests.security.users import as_another_user, needs_readable_checkout, needs_root

pytestmark = pytest.mark.skipif(
    not allowed().hides_folders, reason="this system allows no mount namespace"
)

_PROGRAM = """
import sys
from pathlib import Path
from broker.runtime.allowed_namespaces import allowed
from broker.runtime.confinement import Confinement, confine_self

folder, command = sys.argv[1:]
confine_self(Confinement(
    hidden=(folder, folder + "/missing"),
    readable=(folder + "/bundle",),
    writable=(folder + "/work",),
    uid=int(%r),
))
import subprocess
sys.exit(subprocess.run(["sh", "-c", command]).returncode)
"""


def confined(
    folder: Path, command: str, uid: int = 0, *, is_root: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell in a confined process.

    Args:
        folder: The folder that is hidden from it.
        command: The command; its working folder is ``work`` in that folder.
        uid: The user as which root goes on.
        is_root: Whether this user confines the process; else another one, without root's rights.
    """
    program = _PROGRAM % uid
    own = [sys.executable, "-P", "-c", program, str(folder), command]
    return subprocess.run(
        own if is_root else as_another_user(folder, program, command),
        check=False,
        capture_output=True,
        text=True,
        cwd=folder / "work",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a secret, a bundle, and a working folder."""
    for name in ("bundle", "work", "nats"):
        (tmp_path / name).mkdir()
        # Whatever the umask: another user passes these folders, if the test lets it.
        (tmp_path / name).chmod(0o755)
    (tmp_path / "nats" / "secret").write_text("s3cret")
    (tmp_path / "bundle" / "main.py").write_text("kit = 1")
    return tmp_path


def test_only_the_named_folders_are_left(folder: Path) -> None:
    done = confined(folder, f"ls {folder}; cat {folder}/bundle/main.py")

    assert done.stdout == "bundle\nwork\nkit = 1", done.stderr


@pytest.mark.parametrize("name", ["new", "bundle/new", "bundle/main.py"])
def test_they_are_read_only(folder: Path, name: str) -> None:
    done = confined(folder, f"echo planted > {folder}/{name}")

    assert "Read-only file system" in done.stderr
    assert (folder / "bundle" / "main.py").read_text() == "kit = 1"


def test_the_working_folder_is_the_real_one(folder: Path) -> None:
    done = confined(folder, f"echo text > {folder}/work/file")

    assert done.returncode == 0, done.stderr
    assert (folder / "work" / "file").read_text() == "text\n"


def test_a_hidden_folder_in_one_that_stays_is_hidden(folder: Path) -> None:
    (folder / "bundle" / "data" / "inner").mkdir(parents=True)
    program = (
        "import os, sys; from pathlib import Path; from broker.runtime import hidden_folders\n"
        "folder = Path(sys.argv[1])\n"
        "data = folder / 'bundle' / 'data'\n"
        "hidden_folders.hide([folder, data], [folder / 'bundle'], [])\n"
        "print(os.listdir(folder), os.listdir(folder / 'bundle'), os.listdir(data))"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", program, folder], check=False, capture_output=True, text=True
    )

    assert done.stdout.startswith("['bundle'] "), done.stderr
    assert done.stdout.endswith(" []\n")


@pytest.mark.parametrize("file", ["mem", "environ", "maps", "root/proc/version", "cwd/file"])
def test_a_neighbour_of_the_same_user_cannot_be_read(folder: Path, file: str) -> None:
    (folder / "work" / "file").touch()
    neighbour = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM % 0, folder, "echo ready; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder / "work",
    )
    with neighbour:
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == "ready\n"

        # Opening is enough: the first page of a process's memory is no memory.
        done = confined(folder, f"exec < /proc/{neighbour.pid}/{file}")
        neighbour.communicate("\n")

    assert "Permission denied" in done.stderr


def test_nothing_changes_outside(folder: Path) -> None:
    confined(folder, "true")

    assert (folder / "nats" / "secret").read_text() == "s3cret"


@pytest.mark.parametrize(
    "escape",
    [
        "cd ..; cd nats",
        "umount {}",
        "unshare -Um umount {}",
        "unshare -Um mount -t tmpfs none {}/nats",
        "umount -l {}",
    ],
)
@pytest.mark.parametrize(
    ("uid", "is_root"),
    [
        pytest.param(0, True, id="this-user"),
        pytest.param(61_184, True, id="root-as-another-user", marks=needs_root),
        pytest.param(0, False, id="in-a-user-namespace", marks=needs_readable_checkout),
    ],
)
def test_the_process_cannot_get_a_folder_back(
    folder: Path, escape: str, uid: int, is_root: bool
) -> None:
    command = f"{escape.format(folder)}; cat secret ../nats/secret {folder}/nats/secret"

    done = confined(folder, command, uid, is_root=is_root)

    assert done.returncode != 0
    assert "s3cret" not in done.stdout
    assert "secret: No such file" in done.stderr
