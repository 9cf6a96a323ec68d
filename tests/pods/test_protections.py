"""The status names the protections of pods that are on and those that are missing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from broker.runtime.allowed_namespaces import AllowedNamespaces
from broker.runtime.confinement import Confinement
from kubefox.status import Check, CheckState
from pods import protections
from pods.protections import describe_protections
from pods.rights import PodRights
from tests.security.users import needs_root

LIMITS = Confinement(memory_bytes=64 << 20, open_files=128, processes=64)
HIDING = PodRights(limits=LIMITS, hides_folders=True)
WITHOUT_USER_NAMESPACES = """
from pathlib import Path
from broker.runtime import linux_calls
from pods.protections import describe_protections
from pods.rights import PodRights

linux_calls.unshare(linux_calls.NEW_USER)
# It holds for this namespace.
Path("/proc/sys/user/max_user_namespaces").write_text("0")
print(describe_protections("host", PodRights(hides_folders=True)).detail)
"""


def allow(monkeypatch: pytest.MonkeyPatch, found: AllowedNamespaces, uid: int = 1000) -> None:
    """Let the system allow ``found`` to a user."""
    monkeypatch.setattr(protections, "allowed", lambda: found)
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def items(check: Check) -> dict[str, Check]:
    return {item.name: item for item in check.items}


def test_a_refusal_of_the_system_is_named_and_degrades(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, AllowedNamespaces(refusal="Operation not permitted"))

    check = describe_protections("host", HIDING)

    assert check.state is CheckState.DEGRADED
    assert check.detail == (
        "active: no new privileges, limits; "
        "not: hidden folders (the system refuses namespaces: Operation not permitted); "
        "not: separate pods (the system refuses user namespaces: pods can read the memory and the "
        "files of each other; set FOX_POD_UIDS, as root); "
        "not: users (FOX_POD_UIDS is not set: pods run as the platform's user); "
        "not: process limit (a pod may start processes without end: a limit needs user namespaces, "
        "and Linux 5.14)"
    )


def test_protections_that_the_settings_turn_off_are_no_fault() -> None:
    check = describe_protections("host", PodRights())

    assert check.state is CheckState.OK
    assert check.detail.startswith("active: no new privileges; not: hidden folders (FOX_POD_HIDE_")


def test_limits_are_named_as_they_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, AllowedNamespaces(), uid=0)
    rights = PodRights(limits=LIMITS, hides_folders=True, uids=(61184, 65519))

    check = describe_protections("host", rights)

    assert check.state is CheckState.OK
    found = items(check)
    assert found["limits"].detail == "memory 64 MiB, 128 open files"
    assert found["users"].detail == "each pod has a user of its own, 61184-65519"
    assert found["process limit"].detail == "64 processes and threads in each pod"
    assert found["separate pods"].state is CheckState.OK


@pytest.mark.parametrize(
    ("found", "uid", "state", "detail"),
    [
        (AllowedNamespaces(counts_processes=True), 1000, CheckState.OK, "64 processes"),
        (AllowedNamespaces(), 1000, CheckState.DEGRADED, "without end: a limit needs"),
        (AllowedNamespaces(), 0, CheckState.OFF, "only if FOX_POD_UIDS is set"),
    ],
)
def test_a_missing_limit_of_processes_is_named(
    monkeypatch: pytest.MonkeyPatch,
    found: AllowedNamespaces,
    uid: int,
    state: CheckState,
    detail: str,
) -> None:
    allow(monkeypatch, found, uid)

    check = items(describe_protections("host", HIDING))["process limit"]

    assert check.state is state
    assert detail in check.detail


@needs_root
def test_pods_that_can_read_each_other_are_named_where_only_root_can_hide_folders() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_USER_NAMESPACES],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.stdout.startswith("active: hidden folders, no new privileges;"), done.stderr
    assert "not: separate pods (the system refuses user namespaces: pods can read" in done.stdout
