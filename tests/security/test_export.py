"""A component's code gets nothing of the user's while its definition is read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fox.source.app import read_app
from fox.source.export import export_definitions
from kubefox.errors import ComponentFailed
from tests.support.repository import Repository

NO_NAMESPACES = "the system allows no user namespaces"
# The code reports what it found in the title of its kit.
PROBE = """
import json, os, socket, subprocess, sys
from pathlib import Path
from fox import Kit

def attempt(act):
    try:
        return act()
    except Exception as error:
        return f"refused: {{type(error).__name__}}"

kit = Kit(title=json.dumps({probe}))
"""

EXPORT = """
import json, sys
from pathlib import Path
from fox.source.app import read_app
from fox.source.export import export_definitions

reasons = []
components = read_app(Path(sys.argv[1]), is_dirty=True).components
definitions = export_definitions([*components.values()], on_not_isolated=reasons.append)
print(json.dumps([definitions["api"].title, reasons]))
"""
# In its user namespace, a process may forbid further ones.
WITHOUT_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
    "sh",
)


def export(repository: Repository, code: str) -> tuple[str, str]:
    """Return the title that a component's code has given, and why it was not isolated."""
    repository.write({"components/api/main.py": code})
    (repository.folder / "components/web/main.py").unlink(missing_ok=True)
    components = tuple(read_app(repository.folder, is_dirty=True).components.values())
    reasons: list[str] = []
    definitions = export_definitions(components, on_not_isolated=reasons.append)
    return definitions["api"].title, "".join(reasons)


def probe(repository: Repository, expression: str) -> Any:
    """Return what an expression gives in a component's code."""
    title, _ = export(repository, PROBE.format(probe=expression))
    return json.loads(title)


def isolated_probe(repository: Repository, expression: str) -> Any:
    """Return what an expression gives, where the system allows namespaces."""
    title, reason = export(repository, PROBE.format(probe=expression))
    if reason:
        pytest.skip(f"{NO_NAMESPACES}: {reason}")
    return json.loads(title)


def test_no_variable_of_the_user_is_seen(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("FOX_NATS_URL", "nats://fox:s3cret@127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", "/home/ann/code")

    environ = probe(repository, "dict(os.environ)")

    allowed = {"PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "HOME", "TMPDIR"}
    assert set(environ) <= allowed


def test_the_home_folder_is_empty_and_the_code_can_write_there(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("mine")
    monkeypatch.setenv("HOME", str(tmp_path))

    listed, written = probe(
        repository, "[os.listdir(Path.home()), (Path.home() / 'x').write_text('text')]"
    )

    assert (listed, written) == ([], 4)


def test_a_program_gets_no_more_rights(repository: Repository) -> None:
    status = probe(repository, "Path('/proc/self/status').read_text()")

    assert "NoNewPrivs:\t1" in status


def test_memory_is_limited(repository: Repository) -> None:
    with pytest.raises(ComponentFailed, match="MemoryError"):
        export(repository, "kept = bytes(3 << 30)\n")


def test_open_files_are_limited(repository: Repository) -> None:
    with pytest.raises(ComponentFailed, match="Too many open files"):
        export(repository, "kept = [open('/dev/null') for _ in range(2_000)]\n")


def test_a_socket_of_this_machine_is_not_reached(repository: Repository) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        answer = isolated_probe(
            repository, f"attempt(lambda: str(socket.create_connection(('127.0.0.1', {port}), 1)))"
        )

    assert answer == "refused: OSError"


def test_files_of_the_user_are_not_seen(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")

    seen = isolated_probe(
        repository, f"attempt(lambda: Path({str(tmp_path / 'secret')!r}).read_text())"
    )

    assert seen == "refused: FileNotFoundError"


def test_processes_of_the_user_are_not_seen(repository: Repository) -> None:
    processes, killed = isolated_probe(
        repository,
        "[[name for name in attempt(lambda: os.listdir('/proc')) if name.isdigit()], "
        f"attempt(lambda: os.kill({os.getpid()}, 0))]",
    )

    assert processes == ["1"]
    assert killed == "refused: ProcessLookupError"


def test_python_and_the_component_cannot_be_changed(repository: Repository) -> None:
    places = "[sys.prefix, os.path.dirname(json.__file__), '.']"

    refused = isolated_probe(
        repository, f"[attempt(lambda: Path(place, 'evil.py').touch()) for place in {places}]"
    )

    assert refused == ["refused: OSError"] * 3


def test_no_capability_is_left_and_none_can_be_got_back(repository: Repository) -> None:
    status, entered = isolated_probe(
        repository,
        "[Path('/proc/self/status').read_text(), attempt(lambda: subprocess.run("
        "['unshare', '--user', 'true'], stderr=subprocess.DEVNULL).returncode)]",
    )

    assert "CapEff:\t0000000000000000" in status
    assert entered != 0


def test_a_process_that_leaves_its_session_ends_with_the_export(
    repository: Repository, tmp_path: Path
) -> None:
    sleeper = "import os, time; os.setsid(); time.sleep(600)"
    code = f"[subprocess.Popen([sys.executable, '-c', {sleeper!r}, {str(tmp_path)!r}]), 0][1]"

    isolated_probe(repository, code)

    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) + "\n" not in running.stdout


def test_a_system_without_namespaces_is_reported_and_the_rest_is_kept(
    repository: Repository,
) -> None:
    repository.write({"components/api/main.py": PROBE.format(probe="dict(os.environ)")})
    (repository.folder / "components/web/main.py").unlink()

    done = subprocess.run(
        [*WITHOUT_NAMESPACES, sys.executable, "-c", EXPORT, repository.folder],
        env={**os.environ, "AWS_SECRET_ACCESS_KEY": "s3cret"},
        capture_output=True,
        text=True,
        check=True,
    )

    title, reasons = json.loads(done.stdout)
    assert len(reasons) == 1
    assert "unshare" in reasons[0]
    assert "HOME" in json.loads(title)
    assert "AWS_SECRET_ACCESS_KEY" not in json.loads(title)
