"""A platform that runs with chosen settings, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fox.data_dir import PlatformInfo, read_info
from fox.owner_token import TOKEN_FILE

FOX = (sys.executable, "-m", "fox.cli")
STOP_S = 40


class RunningPlatform:
    """A platform of ``run_platform``.

    Args:
        process: Of ``fox up``.
        folder: Its data folder.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self.folder = process, folder
        self._lines: list[str] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of ``fox up``."""
        return self._process.pid

    @property
    def info(self) -> PlatformInfo:
        """Its addresses."""
        info = read_info(self.folder)
        assert info is not None
        return info

    @property
    def control_port(self) -> int:
        """Port of its control API."""
        port = urlsplit(self.info.control_url).port
        assert port is not None
        return port

    @property
    def http_port(self) -> int:
        """Port of its HTTP adapter."""
        port = urlsplit(self.info.http_url).port
        assert port is not None
        return port

    @property
    def owners_token(self) -> str:
        """The token of its owner."""
        return self.folder.joinpath(TOKEN_FILE).read_text().strip()

    def wait_line(self, text: str) -> str:
        """Return its first line of output with ``text``, once there is one."""
        with self._arrived:
            found = self._arrived.wait_for(lambda: self._find(text), timeout=60)
        assert found, "".join(self._lines)
        return found

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it without a chance to clean up, and wait for its end."""
        self._process.kill()
        self._process.wait(STOP_S)
        self._reader.join(STOP_S)

    def stop(self) -> None:
        """End it, and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        finally:
            self._process.kill()
        self._reader.join(STOP_S)

    def _find(self, text: str) -> str:
        return next((line for line in self._lines if text in line), "")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._arrived:
                self._lines.append(line)
                self._arrived.notify_all()


@contextlib.contextmanager
def run_platform(
    folder: Path, command: Sequence[str] = (*FOX, "up"), **settings: str
) -> Iterator[RunningPlatform]:
    """Run ``fox up`` on a data folder, with free ports and ``settings``, until the context ends."""
    ports = {"FOX_HTTP_PORT": "0", "FOX_CONTROL_PORT": "0", "FOX_DATA_DIR": str(folder)}
    with subprocess.Popen(
        command,
        env={**os.environ, **ports, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        platform = RunningPlatform(process, folder)
        try:
            platform.wait_line("KubeFox is ready")
            yield platform
        finally:
            platform.stop()


def run_fox(
    folder: Path, *arguments: str, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder``, with no other setting than ``environ``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FOX_")}
    return subprocess.run(
        [*FOX, *arguments],
        cwd=folder,
        env={**kept, **environ},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_S,
    )
