"""What can be checked of a deployment and of values without looking at anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from model.component import ComponentDefinition, ComponentVersion
from model.deployment import Deployment
from model.digest import HASH_LENGTH
from model.errors import InvalidRequest, Problem
from model.names import check_name

MAX_VERSION_LENGTH = 63

_HASH = re.compile(rf"[0-9a-f]{{{HASH_LENGTH}}}")


def check_hash(digest: str) -> str:
    """Return ``digest`` unchanged.

    Raises:
        InvalidRequest: It is not 32 hexadecimal characters.
    """
    if _HASH.fullmatch(digest):
        return digest
    raise InvalidRequest(f"hash {digest!r} is not {HASH_LENGTH} hexadecimal characters")


def check_components(components: Mapping[str, str]) -> None:
    """Return if every name and hash of a deployment's components is well formed.

    Raises:
        InvalidRequest: Names the first that is not.
    """
    for name, digest in components.items():
        check_name(name, "component")
        check_hash(digest)


def check_version(version: str | None) -> None:
    """Return if a deployment may have this version, or none.

    Raises:
        InvalidRequest: It may not.
    """
    if version is not None and not (
        version.isprintable() and 0 < len(version) <= MAX_VERSION_LENGTH
    ):
        raise InvalidRequest(
            f"version {version!r} is not 1 to {MAX_VERSION_LENGTH} printable characters"
        )


def check_deployment(deployment: Deployment, versions: Sequence[ComponentVersion]) -> None:
    """Return if a deployment and the versions sent with it are well formed and belong together.

    Raises:
        InvalidRequest: Names the first thing that is not.
    """
    check_name(deployment.name, "deployment")
    check_name(deployment.app, "app")
    check_components(deployment.components)
    if not deployment.components:
        raise InvalidRequest(f"deployment {deployment.name} has no components")
    check_version(deployment.version)
    for each in versions:
        if each.app != deployment.app or deployment.components.get(each.name) != each.hash:
            raise InvalidRequest(
                f"component version {each.app}/{each.name}@{each.hash} is not part of "
                f"deployment {deployment.name}"
            )


def schedule_problems(
    definitions: Mapping[str, ComponentDefinition], check: Callable[[str], object]
) -> list[Problem]:
    """Return a problem for each schedule that ``check`` refuses with InvalidRequest."""
    problems = []
    for name, definition in sorted(definitions.items()):
        for schedule in definition.schedules:
            path = f"components.{name}.schedules[{schedule.id}].cron"
            try:
                check(schedule.cron)
            except InvalidRequest as error:
                problems.append(Problem(type="InvalidSchedule", message=error.detail, path=path))
    return problems
