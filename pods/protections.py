"""The protections of pods on this machine, for people: which are active, and why others are not."""

from __future__ import annotations

from broker.runtime import hidden_folders
from kubefox.status import Check, CheckState, checked
from pods.rights import PodRights

MIB = 1 << 20


def describe_protections(runner: str, rights: PodRights) -> Check:
    """Return the protections of the pods of one pod runner. This blocks.

    Args:
        runner: Name of the pod runner.
        rights: Rights of its pods.
    """
    items = (_folders(rights), _users(rights), _privileges(), _limits(rights))
    active = [item.name for item in items if item.state is CheckState.OK]
    missing = [f"{item.name} ({item.detail})" for item in items if item.state is not CheckState.OK]
    detail = f"active: {', '.join(active)}"
    return checked(runner, "; ".join([detail, *(f"not: {text}" for text in missing)]), items)


def _folders(rights: PodRights) -> Check:
    name = "hidden folders"
    if not rights.hides_folders:
        return _off(name, "FOX_POD_HIDE_FOLDERS is false")
    if reason := hidden_folders.refusal():
        return Check(
            name=name,
            state=CheckState.DEGRADED,
            detail=f"the system refuses namespaces: {reason}",
        )
    return _active(name, "pods do not see the data folder and the home folder")


def _users(rights: PodRights) -> Check:
    if rights.uids is None:
        return _off("users", "FOX_POD_UIDS is not set: pods run as the platform's user")
    return _active("users", "each pod has a user of its own, {}-{}".format(*rights.uids))


def _privileges() -> Check:
    return _active("no new privileges", "no program that a pod runs gets more rights")


def _limits(rights: PodRights) -> Check:
    limits = rights.limits
    found = [
        f"memory {limits.memory_bytes // MIB} MiB" if limits.memory_bytes else "",
        f"{limits.open_files} open files" if limits.open_files else "",
        f"{limits.processes} processes" if limits.processes and rights.uids else "",
    ]
    text = ", ".join(filter(None, found))
    return _active("limits", text) if text else _off("limits", "none is set")


def _active(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.OK, detail=detail)


def _off(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.OFF, detail=detail)
