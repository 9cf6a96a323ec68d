"""Secrets never leave the platform: answers show a mask, and a mask sent back changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from model.component import Value
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.errors import Problem, ProblemsFound

MASK = "••••••"

EnvironmentObject = Environment | VirtualEnvironment | HTTPAdapter


def masked(record: EnvironmentObject) -> EnvironmentObject:
    """Return ``record`` with every secret's value hidden."""
    if isinstance(record, HTTPAdapter):
        return record
    return _with_secrets(record, dict.fromkeys(record.data.secrets, MASK))


def unmasked(record: EnvironmentObject, stored: EnvironmentObject | None) -> EnvironmentObject:
    """Return ``record`` with each mask replaced by the value that is stored.

    So an answer of the API can be changed and sent back whole.

    Raises:
        ProblemsFound: A mask stands for a secret that is not stored.
    """
    if isinstance(record, HTTPAdapter):
        return record
    held = {} if stored is None or isinstance(stored, HTTPAdapter) else stored.data.secrets
    _check_held(record.data.secrets, held)
    secrets = {
        name: held[name] if value == MASK else value for name, value in record.data.secrets.items()
    }
    return _with_secrets(record, secrets)


def _with_secrets(
    record: Environment | VirtualEnvironment, secrets: Mapping[str, Value]
) -> Environment | VirtualEnvironment:
    data = msgspec.structs.replace(record.data, secrets=dict(secrets))
    return msgspec.structs.replace(record, data=data)


def _check_held(secrets: Mapping[str, Value], held: Mapping[str, Value]) -> None:
    problems = tuple(
        Problem(
            type="SecretNotFound",
            message=f"secret {name} is masked, and no value of it is stored",
            path=f"data.secrets.{name}",
        )
        for name, value in secrets.items()
        if value == MASK and name not in held
    )
    if problems:
        raise ProblemsFound("a masked secret has no value", problems)
