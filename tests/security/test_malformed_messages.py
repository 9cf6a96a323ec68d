"""Garbage on every subject of a platform is counted and ignored, and fills no log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from adapters.http.server import READY_PATH
from broker.nats import bus as buses
from examples.demo.platform import credentials
from fox.data_dir import PlatformInfo, read_info
from tests.fox.cli.conftest import STOP_S
from tests.fox.cli.shop import make
from tests.security.test_foreign_folder import FOX
from tests.support.nats import NatsServer

READY = "KubeFox is ready"
GARBAGE = (
    b"",
    b"\xc1",
    b"\x00" * 40,
    b"\x01\x00\x00\x05hello",
    b"\x01\xff\xff\xff",
    b"{}",
    b"\x93",
)
ROUNDS = 20
# The first tokens of the subjects of pods, adapters, brokers, control and the pod runner.
ROOMS = {"adapter", "broker", "evt", "gone", "pods", "runs", "telemetry"}
_MONITOR = re.compile(r"Starting http monitor on (\S+:\d+)")
_LOGGED = re.compile(r"\d+ malformed messages? (?:was|were) ignored, the last one on \S+:")


class Platform:
    """A platform on a nats-server of its own, with an app whose pods run."""

    def __init__(self, folder: Path, server: NatsServer, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.server = server
        self.process = process

    @property
    def info(self) -> PlatformInfo:
        info = read_info(self.folder)
        assert info is not None
        return info

    @property
    def log(self) -> str:
        """The log of the platform and its pods."""
        files = [self.folder.parent / "out", *(self.folder / "logs").rglob("*")]
        return "\n".join(file.read_text() for file in files if file.is_file())

    def malformed(self) -> int:
        """Return how many messages all processes have counted."""
        url = f"{self.info.control_url}/metrics"
        request = urllib.request.Request(url, headers=credentials(self.folder))  # noqa: S310
        with urllib.request.urlopen(request) as response:  # noqa: S310
            text = response.read().decode()
        found = re.findall(r"^kubefox_malformed_messages_total\{.*\} (\d+)$", text, re.MULTILINE)
        return sum(map(int, found))

    def subjects(self) -> set[str]:
        """Return the subjects that processes of the platform serve."""
        (address,) = _MONITOR.findall("".join(self.server.log))
        with urllib.request.urlopen(f"http://{address}/subsz?subs=1&limit=10000") as response:
            subscriptions = json.load(response)["subscriptions_list"]
        served = {subscription["subject"] for subscription in subscriptions}
        return {
            subject.replace("*", "x").replace(">", "x")
            for subject in served
            # Stored events that cannot be read are dead letters, and each is logged as one.
            if not subject.startswith(("$", "_", "inbox.", "reply.", "emit.", "dead."))
        }


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    (tmp_path / "nats").mkdir()
    folder = tmp_path / "data"
    ports = ("--http-port", "0", "--control-port", "0", "--data-dir", str(folder))
    with (
        NatsServer(tmp_path / "nats", 'http: "127.0.0.1:-1"') as server,
        (tmp_path / "out").open("wb") as out,
        subprocess.Popen(
            [FOX, "up", *ports],
            env={**os.environ, **server.environ},
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        ) as process,
    ):
        platform = Platform(folder, server, process)
        try:
            wait_until(lambda: READY in platform.log)
            shop = make(tmp_path, "shop")
            deploy: list[str | Path] = [FOX, "deploy", "--app", shop.folder, "--data-dir", folder]
            subprocess.run(deploy, check=True, capture_output=True)
            yield platform
        finally:
            process.terminate()
            process.wait(STOP_S)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + STOP_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


async def publish_garbage(url: str, served: Collection[str]) -> int:
    """Publish to each subject in turn, and return the number of messages."""
    async with buses.connect(url, process_id="stranger") as stranger:
        for _ in range(ROUNDS):
            for subject in served:
                for payload in GARBAGE:
                    await stranger.publish(subject, payload)
        await stranger.flush()
    return ROUNDS * len(served) * len(GARBAGE)


def test_garbage_on_every_subject_is_counted_and_logged_together(platform: Platform) -> None:
    served = platform.subjects()
    assert {subject.partition(".")[0] for subject in served} >= ROOMS

    published = asyncio.run(publish_garbage(platform.server.url, served))

    wait_until(lambda: platform.malformed() >= published // 4)
    with urllib.request.urlopen(f"{platform.info.http_url}{READY_PATH}") as response:  # noqa: S310
        assert response.status == HTTPStatus.OK
    platform.process.terminate()
    assert platform.process.wait(STOP_S) == 0
    assert "Traceback" not in platform.log
    lines = _LOGGED.findall(platform.log)
    assert 0 < len(lines) * 10 < published
