"""Starting a platform in a folder that somebody else made runs nothing of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.keys import KEY_FILE, make_keys
from tests.support.nats import NatsServer

FOX = Path(sys.executable).parent / "fox"
MODULES = ("fox", "aiohttp", "msgspec", "sitecustomize", "http", "signal")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that the modules in `tmp_path` make when one of them is imported."""
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    return tmp_path / "imported"


def test_http_workers_import_no_module_of_the_current_folder(
    canary: Path, tmp_path: Path, nats_server: NatsServer
) -> None:
    make_keys(nats_server)
    with subprocess.Popen(
        [FOX, "serve", "http", "--workers", "2", "--http-port", "0"],
        cwd=tmp_path,
        env={**os.environ, **nats_server.environ, "FOX_KEY_FILE": str(KEY_FILE)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.readline() + process.stdout.readline()
        process.terminate()

    assert re.search(r"KubeFox is ready\n  requests  http://127.0.0.1:\d+\n", printed)
    assert not canary.exists()
