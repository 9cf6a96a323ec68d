"""Checks of an environment, virtual environment or HTTP adapter before it is stored."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from control.deployment_checks import MAX_DEADLINE_S
from control.secret_masks import EnvironmentObject
from kubefox.component import Value
from kubefox.environment import MAX_HISTORY, HTTPAdapter, ReleasePolicy, VirtualEnvironment
from kubefox.errors import Problem
from kubefox.formats import URL, VALUE_NAME
from kubefox.steps import Steps

_VALUES_A_STEP = 1_024


def object_problems(
    record: EnvironmentObject, environments: Container[str]
) -> Steps[list[Problem]]:
    """Find every problem of ``record``, in steps.

    Args:
        record: The object to store.
        environments: Names of the environments that exist.
    """
    if isinstance(record, HTTPAdapter):
        return [*_adapter_problems(record)]
    problems = yield from _value_problems("data.vars", record.data.vars)
    problems += yield from _value_problems("data.secrets", record.data.secrets)
    problems += _policy_problems(record.release_policy)
    if isinstance(record, VirtualEnvironment) and record.environment not in environments:
        problem = Problem(
            type="EnvironmentNotFound",
            message=f"environment {record.environment} does not exist",
            path="environment",
        )
        problems.append(problem)
    return problems


def _value_problems(path: str, values: Mapping[str, Value]) -> Steps[list[Problem]]:
    problems = []
    for number, name in enumerate(values, 1):
        if fault := VALUE_NAME.fault(name):
            problem = Problem(
                type="InvalidName",
                message=fault,
                path=f"{path}.{name}",
            )
            problems.append(problem)
        if number % _VALUES_A_STEP == 0:
            yield
    return problems


def _policy_problems(policy: ReleasePolicy | None) -> Iterator[Problem]:
    if policy is None:
        return
    if not (0 < policy.activation_deadline_s <= MAX_DEADLINE_S):
        yield Problem(
            type="InvalidPolicy",
            message=f"the deadline is {policy.activation_deadline_s:g} s: "
            f"expected more than 0 and at most {MAX_DEADLINE_S} s",
            path="release_policy.activation_deadline_s",
        )
    # At least 1: requests in flight on the previous release still read its manifest.
    if not 1 <= policy.history_limit <= MAX_HISTORY:
        yield Problem(
            type="InvalidPolicy",
            message=f"the history limit is {policy.history_limit}: "
            f"expected 1 to {MAX_HISTORY} releases",
            path="release_policy.history_limit",
        )


def _adapter_problems(adapter: HTTPAdapter) -> Iterator[Problem]:
    if fault := URL.fault(adapter.url):
        yield Problem(type="InvalidURL", message=fault, path="url")
