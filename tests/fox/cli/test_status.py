"""``fox status`` of a running platform."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fox.cli.commands.status import MOST_ITEMS, _rows
from kubefox.status import Check, CheckState, checked
from tests.fox.cli.conftest import Cli
from tests.security.running import run_fox, run_platform

SOON_S = 60
CHECKS = [
    "control",
    "nats",
    "streams",
    "pods",
    "confinement",
    "tls",
    "tokens",
    "selection",
    "resources",
    "disk",
    "versions",
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of a platform of its own: pods of others may be degraded."""
    folder = tmp_path_factory.mktemp("status") / "data"
    with run_platform(folder):
        yield folder


def status_ok(data_dir: Path, *options: str) -> str:
    """Return what is shown once all is well; a slow machine may leave a check without answer."""
    end_s = time.monotonic() + SOON_S
    while True:
        done = run_fox(data_dir.parent, "status", *options, FOX_DATA_DIR=str(data_dir))
        if not done.returncode:
            return done.stdout
        assert time.monotonic() < end_s, done.stdout


def test_each_check_has_a_line(data_dir: Path) -> None:
    lines = status_ok(data_dir).splitlines()

    assert [line.split()[0] for line in lines[1 : len(CHECKS) + 1]] == CHECKS
    assert lines[-1].startswith("KubeFox ")
    assert lines[-1].endswith(" is ok")


def test_programs_get_all_details(data_dir: Path) -> None:
    document = json.loads(status_ok(data_dir, "-o", "json"))

    checks = {check["name"]: check for check in document["checks"]}
    assert document["state"] == "ok"
    assert checks["nats"]["detail"].startswith("embedded: nats-server 2.")
    assert {"bucket kubefox-pods", "object store kubefox-bundles"} <= {
        item["name"] for item in checks["streams"]["items"]
    }
    assert {item["name"] for item in checks["confinement"]["items"]} == {
        "no new privileges",
        "limits",
        "process limit",
        "users",
        "hidden folders",
        "separate pods",
    }
    assert checks["selection"]["detail"] == "open for direct requests, released for others"


@pytest.mark.slow
def test_a_degraded_platform_fails_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with run_platform(folder) as platform:
        nats = nats_process(platform.pid)
        os.kill(nats, signal.SIGSTOP)
        try:
            done = run_fox(tmp_path, "status", FOX_DATA_DIR=str(folder))
        finally:
            os.kill(nats, signal.SIGCONT)

    assert done.returncode == 1
    assert "streams" in done.stdout
    assert "degraded" in done.stdout


def nats_process(parent: int) -> int:
    """Return the id of the nats-server that a platform has started."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"nats-server" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no nats-server is a child of the platform")


def test_the_platform_must_run(fox_alone: Cli) -> None:
    result = fox_alone("status", code=1)

    assert "no platform answers" in result.output


def test_the_streams_of_a_cluster_are_shown_up_to_a_limit_the_degraded_ones_first() -> None:
    facts: dict[str, int | str] = {"replicas": 3, "leader": "nats-1"}
    well = [
        Check(name=f"bucket {number}", state=CheckState.OK, facts=facts)
        for number in range(MOST_ITEMS + 4)
    ]
    late = Check(name="bucket late", state=CheckState.DEGRADED, facts=facts)

    first, *rows, last = _rows(checked("streams", "", (*well, late)))

    assert first[0] == "streams"
    assert [name for name, _, _ in rows][:2] == ["  bucket late", "  bucket 0"]
    assert last == ("  …", "", "and 5 more: see -o json")
