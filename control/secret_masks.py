"""Masks of secrets: an answer contains masks, and a mask that is sent back keeps the value."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubefox.component import Value
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.errors import Problem, ProblemsFound

MASK = "••••••"

EnvironmentObject = Environment | VirtualEnvironment | HTTPAdapter


def masked(record: EnvironmentObject) -> EnvironmentObject:
    """Return ``record`` with a mask in place of each secret's value."""
    if isinstance(record, HTTPAdapter):
        return record
    return _with_secrets(record, dict.fromkeys(record.data.secrets, MASK))


def unmasked(record: EnvironmentObject, stored: EnvironmentObject | None) -> EnvironmentObject:
    """Return ``record`` with the stored value in place of each mask.

    A client may therefore change an answer of the API and send it back whole.

    Raises:
        ProblemsFound: A secret is masked, and no value is stored for it.
    """
    if isinstance(record, HTTPAdapter):
        return record
    old = {} if stored is None or isinstance(stored, HTTPAdapter) else stored.data.secrets
    _check_masks(record.data.secrets, old)
    secrets = {
        name: old[name] if value == MASK else value for name, value in record.data.secrets.items()
    }
    return _with_secrets(record, secrets)


def _with_secrets(
    record: Environment | VirtualEnvironment, secrets: Mapping[str, Value]
) -> Environment | VirtualEnvironment:
    data = msgspec.structs.replace(record.data, secrets=dict(secrets))
    return msgspec.structs.replace(record, data=data)


def _check_masks(secrets: Mapping[str, Value], stored: Mapping[str, Value]) -> None:
    problems = tuple(
        Problem(
            type="SecretNotFound",
            message=f"secret {name} is masked, and no value is stored for it: give its value",
            path=f"data.secrets.{name}",
        )
        for name, value in secrets.items()
        if value == MASK and name not in stored
    )
    if problems:
        raise ProblemsFound("a masked secret has no value", problems)
