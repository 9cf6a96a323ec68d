"""All operations of the control API, in one table."""

from __future__ import annotations

from control.api.operation import Operation
from control.api.operations import (
    audit,
    dead_letters,
    deployments,
    environments,
    health,
    keys,
    observability,
    releases,
    scaling,
    shares,
    tokens,
)

OPERATIONS: tuple[Operation, ...] = (
    *health.OPERATIONS,
    *deployments.OPERATIONS,
    *environments.OPERATIONS,
    *releases.OPERATIONS,
    *observability.OPERATIONS,
    *dead_letters.OPERATIONS,
    *scaling.OPERATIONS,
    *shares.OPERATIONS,
    *keys.OPERATIONS,
    *tokens.OPERATIONS,
    *audit.OPERATIONS,
)
