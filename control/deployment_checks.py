"""Checks of a deployment that need no other data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.declared_limits import DeclaredLimits
from kubefox.deployment import Deployment
from kubefox.errors import InvalidRequest, Problem, ProblemsFound
from kubefox.formats import HASH, MAX_COMPONENTS
from kubefox.names import check_name
from kubefox.scaling import concurrency_fault, fault_of
from kubefox.steps import Steps

MAX_VERSION_LENGTH = 63
MAX_DEADLINE_S = 7 * 24 * 3600


def check_hash(digest: str) -> str:
    """Return ``digest`` unchanged.

    Raises:
        InvalidRequest: It is not 32 hexadecimal characters.
    """
    if fault := HASH.fault(digest):
        raise InvalidRequest(fault)
    return digest


def check_components(components: Mapping[str, str]) -> None:
    """Check the number of a deployment's components, and the form of their names and hashes.

    Raises:
        InvalidRequest: Names the first one that is not well formed.
        ProblemsFound: There are more than MAX_COMPONENTS.
    """
    _check_count(len(components), "components")
    for name, digest in components.items():
        check_name(name, "component")
        check_hash(digest)


def _check_count(count: int, path: str) -> None:
    if count > MAX_COMPONENTS:
        problem = Problem(
            type="TooManyComponents",
            message=f"there are {count:,} components: a deployment has at most {MAX_COMPONENTS}",
            path=path,
        )
        raise ProblemsFound(f"a deployment has at most {MAX_COMPONENTS} components", (problem,))


def check_version(version: str | None) -> None:
    """Check that the version of a deployment is valid; None is valid.

    Raises:
        InvalidRequest: The version is empty, too long or not printable.
    """
    if version is not None and not (
        version.isprintable() and 0 < len(version) <= MAX_VERSION_LENGTH
    ):
        raise InvalidRequest(
            f"version {version!r} is invalid: expected 1 to {MAX_VERSION_LENGTH} "
            "printable characters"
        )


def check_deadline(deadline_s: float | None) -> None:
    """Check that the deadline of a rollout is valid; None is valid.

    Raises:
        InvalidRequest: It is not above 0, or too long.
    """
    if deadline_s is not None and not 0 < deadline_s <= MAX_DEADLINE_S:
        raise InvalidRequest(
            f"the deadline is {deadline_s:g} s: expected more than 0 and at most {MAX_DEADLINE_S} s"
        )


def check_deployment(deployment: Deployment, versions: Sequence[ComponentVersion]) -> None:
    """Check that a deployment and the versions sent with it are well formed and consistent.

    Raises:
        InvalidRequest: Names the first part that is not.
        ProblemsFound: There are too many components or component versions.
    """
    _check_count(len(versions), "components")
    check_name(deployment.name, "deployment")
    check_name(deployment.app, "app")
    check_components(deployment.components)
    if not deployment.components:
        raise InvalidRequest(
            f"deployment {deployment.name} has no components: expected at least one"
        )
    check_version(deployment.version)
    for version in versions:
        if version.app != deployment.app or deployment.components.get(version.name) != version.hash:
            raise InvalidRequest(
                f"component version {version.app}/{version.name}@{version.hash} is not part of "
                f"deployment {deployment.name} of app {deployment.app}"
            )
        scale = version.definition.scale
        if scale is not None and (fault := fault_of(scale)):
            raise InvalidRequest(f"the scale of component {version.name} is not valid: {fault}")
        definition = version.definition
        limits = DeclaredLimits(
            memory_mib=definition.memory_mib,
            open_files=definition.open_files,
            processes=definition.processes,
        )
        if fault := concurrency_fault(definition.concurrency) or limits.fault:
            raise InvalidRequest(f"component {version.name} is not valid: {fault}")


def schedule_problems(
    definitions: Mapping[str, ComponentDefinition], check: Callable[[str], object]
) -> Steps[list[Problem]]:
    """Find the schedules for which ``check`` raises InvalidRequest, one in each step."""
    problems = []
    for name, definition in sorted(definitions.items()):
        for schedule in definition.schedules:
            path = f"components.{name}.schedules[{schedule.id}].cron"
            try:
                check(schedule.cron)
            except InvalidRequest as error:
                problems.append(Problem(type="InvalidSchedule", message=error.detail, path=path))
            yield
    return problems
