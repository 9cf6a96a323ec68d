"""Every operation of the control API, in one table."""

from __future__ import annotations

from broker.api.operation import Operation
from broker.api.operations import (
    dead_letters,
    deployments,
    environments,
    health,
    releases,
    watching,
)

OPERATIONS: tuple[Operation, ...] = (
    *health.OPERATIONS,
    *deployments.OPERATIONS,
    *environments.OPERATIONS,
    *releases.OPERATIONS,
    *watching.OPERATIONS,
    *dead_letters.OPERATIONS,
)
