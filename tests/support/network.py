"""Hosts on one machine: Linux network namespaces at a bridge, each of which can be cut off.

What is sent to a host that is cut off is dropped, and nothing refuses it, as when a cable is
pulled. Making namespaces needs root and the package iproute2. Without them the tests are skipped,
unless ``TEST_NETWORK=required`` makes that an error, as in ``.ci/run``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

REQUIRED = "TEST_NETWORK"
_FORWARDING, _DISABLED = "3", "0"
"""States of a port of a bridge; a disabled one drops what it gets, and its cable stays plugged."""
_SUBNETS = 512


class Host(NamedTuple):
    """A network namespace with an address, which this machine reaches.

    Attributes:
        namespace: Name of the namespace.
        address: IP address.
        port: Its port at the bridge.
    """

    namespace: str
    address: str
    port: str

    @property
    def launcher(self) -> tuple[str, ...]:
        """Command that runs a program on this host, as the same process."""
        return ("ip", "netns", "exec", self.namespace)


class Network:
    """Hosts at one bridge; made by ``open_network``.

    Attributes:
        hosts: All of them.
    """

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts

    def cut(self, host: Host) -> None:
        """Drop all that is sent to and from a host, until ``heal``."""
        _set_state(host, _DISABLED)

    def heal(self, host: Host) -> None:
        """Let the host be reached again."""
        _set_state(host, _FORWARDING)


@contextlib.contextmanager
def open_network(size: int) -> Iterator[Network]:
    """Make hosts, and remove them when the context ends; nothing may run on them then.

    Raises:
        OSError: The programs of iproute2 are missing.
        CalledProcessError: This process may make no namespaces.
    """
    # Unique on this machine, and short: the name of an interface has 15 characters.
    name, subnet = f"kf{os.getpid()}", os.getpid() % _SUBNETS
    # Addresses that are meant for tests of networks (RFC 2544).
    prefix = f"198.{18 + subnet // 256}.{subnet % 256}"
    with contextlib.ExitStack() as stack:
        _make(stack, f"link add {name} type bridge", f"link del {name}")
        _ip(f"address add {prefix}.1/24 dev {name}")
        _ip(f"link set {name} up")
        hosts = []
        for number in range(size):
            host = Host(f"{name}-{number}", f"{prefix}.{number + 11}", f"{name}p{number}")
            _add_host(stack, name, host)
            hosts.append(host)
        yield Network(hosts)


@pytest.fixture
def network() -> Iterator[Network]:
    """Three hosts."""
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open_network(3))
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or str(error)
            if os.environ.get(REQUIRED):
                raise RuntimeError(f"network namespaces are required: {reason}") from error
            pytest.skip(f"this system lets no network namespaces be made: {reason}")
        yield opened


def _add_host(stack: contextlib.ExitStack, bridge: str, host: Host) -> None:
    inside = f"-n {host.namespace}"
    _make(stack, f"netns add {host.namespace}", f"netns del {host.namespace}")
    _ip(f"link add {host.port} type veth peer name eth0 netns {host.namespace}")
    _ip(f"link set {host.port} master {bridge} up")
    _ip(f"{inside} address add {host.address}/24 dev eth0")
    _ip(f"{inside} link set eth0 up")
    _ip(f"{inside} link set lo up")


def _make(stack: contextlib.ExitStack, command: str, undo: str) -> None:
    _ip(command)
    stack.callback(_ip, undo)


def _set_state(host: Host, state: str) -> None:
    # `ip link set … type bridge_slave state …` changes nothing on some kernels.
    _run("bridge", f"link set dev {host.port} state {state}")


def _ip(command: str) -> None:
    _run("ip", command)


def _run(program: str, command: str) -> None:
    subprocess.run([program, *command.split()], check=True, capture_output=True, text=True)
