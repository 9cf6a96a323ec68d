"""What a shell offers after Tab: names that the platform knows, if it answers at once."""

from __future__ import annotations

from pathlib import Path

import typer

from fox.cli.client import Control
from fox.cli.kinds import (
    DEAD_LETTERS,
    DEPLOYMENTS,
    KINDS,
    PODS,
    VIRTUAL_ENVIRONMENTS,
    Kind,
    find_kind,
)
from fox.cli.locate import connect
from model.errors import FoxError

# Whoever pressed Tab waits for this.
PATIENCE_S = 0.3


def complete_deployment(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the deployments whose names begin so."""
    return _names(ctx, DEPLOYMENTS, incomplete)


def complete_virtual_environment(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the virtual environments whose names begin so."""
    return _names(ctx, VIRTUAL_ENVIRONMENTS, incomplete)


def complete_pod(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the pods whose ids begin so."""
    return _names(ctx, PODS, incomplete)


def complete_component(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the components that have pods and whose names begin so."""
    return _names(ctx, PODS, incomplete, key="component")


def complete_dead_letter(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the dead letters whose ids begin so."""
    return _names(ctx, DEAD_LETTERS, incomplete)


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds whose names begin so."""
    return [each.path for each in KINDS if each.path.startswith(incomplete)]


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the objects, of the kind that was typed before, whose names begin so."""
    try:
        return _names(ctx, find_kind(str(ctx.params.get("kind"))), incomplete)
    except typer.BadParameter:
        return []


def _names(ctx: typer.Context, kind: Kind, incomplete: str, key: str = "") -> list[str]:
    data_dir = ctx.params.get("data_dir")
    try:
        found = connect(ctx.params.get("control_url"), Path(data_dir) if data_dir else None)
        listed = Control(found.url, timeout_s=PATIENCE_S).get("v1", kind.path)
        names = {str(getattr(each, key or kind.key)) for each in kind.records(listed)}
        return sorted(name for name in names if name.startswith(incomplete))
    except FoxError:
        return []
