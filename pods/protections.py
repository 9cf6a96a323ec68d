"""The protections of pods on this machine, for people: which are active, and why others are not."""

from __future__ import annotations

import os

from broker.runtime.allowed_namespaces import AllowedNamespaces, allowed
from kubefox.status import Check, CheckState, checked
from pods.rights import PodRights

MIB = 1 << 20


def describe_protections(runner: str, rights: PodRights) -> Check:
    """Return the protections of the pods of one pod runner. This blocks.

    Args:
        runner: Name of the pod runner.
        rights: Rights of its pods.
    """
    found = allowed() if rights.hides_folders else AllowedNamespaces()
    items = (
        _folders(rights, found),
        _separation(rights, found),
        _users(rights),
        _privileges(),
        _limits(rights),
        _process_limit(rights, found),
    )
    active = [item.name for item in items if item.state is CheckState.OK]
    missing = [f"{item.name} ({item.detail})" for item in items if item.state is not CheckState.OK]
    detail = f"active: {', '.join(active)}"
    return checked(runner, "; ".join([detail, *(f"not: {text}" for text in missing)]), items)


def _folders(rights: PodRights, found: AllowedNamespaces) -> Check:
    name = "hidden folders"
    if not rights.hides_folders:
        return _off(name, "FOX_POD_HIDE_FOLDERS is false")
    if found.refusal:
        return _refused(name, f"the system refuses namespaces: {found.refusal}")
    return _active(name, "pods do not see the data folder and the home folder")


def _separation(rights: PodRights, found: AllowedNamespaces) -> Check:
    name = "separate pods"
    if rights.uids or found.has_user_namespace:
        return _active(name, "no pod reads the memory and the files of another one")
    if not rights.hides_folders:
        return _off(name, "FOX_POD_HIDE_FOLDERS is false")
    return _refused(
        name,
        "the system refuses user namespaces: pods can read the memory and the files of each other; "
        "set FOX_POD_UIDS, as root",
    )


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
    ]
    text = ", ".join(filter(None, found))
    return _active("limits", text) if text else _off("limits", "none is set")


def _process_limit(rights: PodRights, found: AllowedNamespaces) -> Check:
    name = "process limit"
    if not rights.limits.processes:
        return _off(name, "FOX_POD_PROCESSES is 0")
    if rights.uids or found.counts_processes:
        return _active(name, f"{rights.limits.processes} processes and threads in each pod")
    if os.geteuid() == 0:
        return _off(
            name,
            "a pod may start processes without end: the kernel limits those of root only if "
            "FOX_POD_UIDS is set",
        )
    if not rights.hides_folders:
        return _off(name, "a pod may start processes without end: FOX_POD_HIDE_FOLDERS is false")
    return _refused(
        name,
        "a pod may start processes without end: a limit needs user namespaces, and Linux 5.14",
    )


def _active(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.OK, detail=detail)


def _off(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.OFF, detail=detail)


def _refused(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.DEGRADED, detail=detail)
