"""What is wrong with an environment, virtual environment or HTTP adapter that is to be stored."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping

from broker.control.secrets import EnvironmentObject
from model.component import Value
from model.environment import HTTPAdapter, ReleasePolicy, VirtualEnvironment
from model.errors import Problem

MAX_DEADLINE_S = 7 * 24 * 3600
MAX_HISTORY = 100

_VALUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_URL = re.compile(r"(https?://|\{\{)\S+")


def object_problems(record: EnvironmentObject, environments: Container[str]) -> Iterator[Problem]:
    """Yield every problem of ``record``; ``environments`` are the names that there are."""
    if isinstance(record, HTTPAdapter):
        yield from _adapter_problems(record)
        return
    yield from _value_problems("data.vars", record.data.vars)
    yield from _value_problems("data.secrets", record.data.secrets)
    yield from _policy_problems(record.release_policy)
    if isinstance(record, VirtualEnvironment) and record.environment not in environments:
        yield Problem(
            type="EnvironmentNotFound",
            message=f"there is no environment {record.environment}",
            path="environment",
        )


def _value_problems(path: str, values: Mapping[str, Value]) -> Iterator[Problem]:
    for name in values:
        if not _VALUE_NAME.fullmatch(name):
            yield Problem(
                type="InvalidName",
                message=f"{name!r} is not 1 to 128 letters, digits, '_' and '-'",
                path=f"{path}.{name}",
            )


def _policy_problems(policy: ReleasePolicy | None) -> Iterator[Problem]:
    if policy is None:
        return
    if not (0 < policy.activation_deadline_s <= MAX_DEADLINE_S):
        yield Problem(
            type="InvalidPolicy",
            message=f"expected a deadline above 0 s and of at most {MAX_DEADLINE_S} s",
            path="release_policy.activation_deadline_s",
        )
    # At least one: requests in flight on the release before still read its manifest.
    if not 1 <= policy.history_limit <= MAX_HISTORY:
        yield Problem(
            type="InvalidPolicy",
            message=f"expected a history of 1 to {MAX_HISTORY} releases",
            path="release_policy.history_limit",
        )


def _adapter_problems(adapter: HTTPAdapter) -> Iterator[Problem]:
    if not _URL.fullmatch(adapter.url):
        yield Problem(
            type="InvalidURL",
            message=f"expected http://…, https://… or a template, got {adapter.url!r}",
            path="url",
        )
