"""One platform for all tests of the command line; each test uses names of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fox.cli.main import app
from fox.data_dir import read_info

FOX = (sys.executable, "-m", "fox.cli")
READY = "KubeFox is ready"
STOP_S = 40


class Cli:
    """Runs commands in this process, as `fox` would.

    Args:
        environ: Variables added to those of this process.
    """

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self._runner = CliRunner(env=environ)

    def __call__(
        self, *arguments: str | Path, code: int = 0, stdin: str | bytes | None = None
    ) -> Result:
        """Run a command and return its result; its exit code must be ``code``."""
        result = self._runner.invoke(app, [*map(str, arguments)], input=stdin, prog_name="fox")
        assert result.exit_code == code, result.output
        return result


def run(*arguments: str | bytes | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    return subprocess.run(
        [*FOX, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def complete(fox: Cli, typed: str) -> list[str]:
    """Return bash's completions of ``typed``."""
    variables = {
        "_FOX_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    return run(**variables, **fox.environ).stdout.split()


def visit(platform: Path, path: str) -> str:
    """Request a page of the platform, and return its text."""
    info = read_info(platform)
    assert info is not None
    with urllib.request.urlopen(info.http_url + path) as response:  # noqa: S310 - on loopback
        text: str = response.read().decode()
    return text


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running platform; returns its data folder."""
    folder = tmp_path_factory.mktemp("platform") / "data"
    ports = {"FOX_HTTP_PORT": "0", "FOX_CONTROL_PORT": "0", "FOX_DATA_DIR": str(folder)}
    with subprocess.Popen(
        [*FOX, "up"],
        env={**os.environ, **ports},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if READY in line:
                break
        assert READY in "".join(seen), "".join(seen)
        # The output is read to its end: a full pipe would block the platform.
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        yield folder
        process.terminate()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
        reader.join(STOP_S)
        assert not reader.is_alive(), "a process of the platform still runs"


@pytest.fixture
def fox(platform: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands for the platform, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Cli({"FOX_DATA_DIR": str(platform)})


@pytest.fixture
def fox_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands without a platform, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Cli({"FOX_CONTROL_URL": "http://127.0.0.1:1"})
