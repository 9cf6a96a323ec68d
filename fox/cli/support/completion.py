"""Shell completion: the names of the platform's objects, if it answers in time."""

from __future__ import annotations

from pathlib import Path

import typer

from fox.cli.support.connection import connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.kinds import (
    DEAD_LETTERS,
    DELETABLE,
    DEPLOYMENTS,
    ENVIRONMENTS,
    KINDS,
    PODS,
    SHARES,
    VIRTUAL_ENVIRONMENTS,
    Kind,
    find_kind,
)
from kubefox.errors import FoxError, InvalidRequest
from kubefox.grants import Role

# The shell blocks for this time after Tab at most.
TIMEOUT_S = 0.3
# For each answer of a cluster, and through a tunnel to it.
CLUSTER_S = 3.0
MAX_NAMES = 500
"""Objects that are asked for; a shell shows no more names."""


def complete_deployment(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of deployments that begin with ``incomplete``."""
    return _names(ctx, DEPLOYMENTS, incomplete)


def complete_generation(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the numbers of the earlier generations of the deployment given before."""
    name = _argument(ctx, "name")
    try:
        history = _client(ctx).get("v1", DEPLOYMENTS.path, name, "history") if name else {}
    except FoxError:
        return []
    numbers = [str(earlier["generation"]) for earlier in history.get("earlier", ())]
    return [number for number in numbers if number.startswith(incomplete)]


def complete_virtual_environment(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of virtual environments that begin with ``incomplete``."""
    return _names(ctx, VIRTUAL_ENVIRONMENTS, incomplete)


def complete_environment(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of environments that begin with ``incomplete``."""
    return _names(ctx, ENVIRONMENTS, incomplete)


def complete_pod(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of pods that begin with ``incomplete``."""
    return _names(ctx, PODS, incomplete)


def complete_component(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of components with pods that begin with ``incomplete``."""
    return _names(ctx, PODS, incomplete, field="component")


def complete_scaled(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of components, and ``<deployment>/`` before the slash is there."""
    deployment, slash, component = incomplete.rpartition("/")
    if slash:
        names = _components_of(ctx, deployment)
        return [f"{deployment}/{name}" for name in names if name.startswith(component)]
    deployments = (f"{name}/" for name in complete_deployment(ctx, incomplete))
    return [*complete_component(ctx, incomplete), *deployments]


def _components_of(ctx: typer.Context, deployment: str) -> list[str]:
    try:
        record = DEPLOYMENTS.record_of(_client(ctx).get("v1", DEPLOYMENTS.path, deployment))
    except FoxError:
        return []
    return sorted(record.components)


def complete_dead_letter(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of dead letters that begin with ``incomplete``."""
    return _names(ctx, DEAD_LETTERS, incomplete)


def complete_share(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of shares that begin with ``incomplete``."""
    return _names(ctx, SHARES, incomplete)


def complete_token(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of tokens that begin with ``incomplete``."""
    try:
        page = _client(ctx).get("v1", "tokens", limit=MAX_NAMES, name_prefix=incomplete)
    except FoxError:
        return []
    return [str(token["name"]) for token in page["items"]]


def complete_role(incomplete: str) -> list[str]:
    """Return the roles of tokens that begin with ``incomplete``."""
    return [role.value for role in Role if role.value.startswith(incomplete)]


def complete_state(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the states that begin with ``incomplete``, of the kind given before."""
    try:
        states = find_kind(_argument(ctx, "kind")).states
    except typer.BadParameter:
        return []
    return [state for state in states if state.startswith(incomplete)]


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds that begin with ``incomplete``."""
    return [kind.path for kind in KINDS if kind.path.startswith(incomplete)]


def complete_deletable_kind(incomplete: str) -> list[str]:
    """Return the kinds whose objects `fox delete` removes that begin with ``incomplete``."""
    return [kind.path for kind in DELETABLE if kind.path.startswith(incomplete)]


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names that begin with ``incomplete``, of the kind given before."""
    try:
        return _names(ctx, find_kind(_argument(ctx, "kind")), incomplete)
    except typer.BadParameter:
        return []


def _names(ctx: typer.Context, kind: Kind, incomplete: str, field: str = "") -> list[str]:
    try:
        page = _client(ctx).get(
            "v1", kind.path, limit=MAX_NAMES, sort="name", name_prefix=incomplete
        )
        names = {str(getattr(record, field or kind.key)) for record in kind.records(page["items"])}
        return sorted(name for name in names if name.startswith(incomplete))
    except FoxError:
        return []


def _argument(ctx: typer.Context, name: str) -> str:
    """Return the first argument of the command; empty if it is not typed yet.

    While the value of an option is completed, click has not assigned the arguments to their names.
    """
    typed = ctx.params.get(name) or next(iter(ctx.args), "")
    return str(typed)


def _client(ctx: typer.Context) -> ControlClient:
    data_dir = ctx.params.get("data_dir")
    control_url, folder = ctx.params.get("control_url"), Path(data_dir) if data_dir else None
    try:
        control = connect(control_url, folder, cluster_s=CLUSTER_S)
    except typer.BadParameter as error:
        raise InvalidRequest(error.message) from error
    return control.with_timeout(CLUSTER_S if control.has_tunnel else TIMEOUT_S)
