"""What people are told of the protections of pods."""

from __future__ import annotations

import pytest

from broker.runtime import hidden_folders
from broker.runtime.confinement import Confinement
from kubefox.status import CheckState
from pods.protections import describe_protections
from pods.rights import PodRights

LIMITS = Confinement(memory_bytes=64 << 20, open_files=128, processes=64)


def test_a_refusal_of_the_system_is_named_and_degrades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_folders, "refusal", lambda: "Operation not permitted")

    check = describe_protections("host", PodRights(limits=LIMITS, hides_folders=True))

    assert check.state is CheckState.DEGRADED
    assert check.detail == (
        "active: no new privileges, limits; "
        "not: hidden folders (the system refuses namespaces: Operation not permitted); "
        "not: users (FOX_POD_UIDS is not set: pods run as the platform's user)"
    )


def test_protections_that_the_settings_turn_off_are_no_fault() -> None:
    check = describe_protections("host", PodRights())

    assert check.state is CheckState.OK
    assert check.detail.startswith("active: no new privileges; not: hidden folders (FOX_POD_HIDE_")


def test_limits_are_named_as_they_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_folders, "refusal", lambda: "")
    rights = PodRights(limits=LIMITS, hides_folders=True, uids=(61184, 65519))

    check = describe_protections("host", rights)

    assert check.state is CheckState.OK
    details = {item.name: item.detail for item in check.items}
    assert details["limits"] == "memory 64 MiB, 128 open files, 64 processes"
    assert details["users"] == "each pod has a user of its own, 61184-65519"
