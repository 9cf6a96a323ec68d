"""The kinds of things that can be shown: what they are called, and their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import typer

from fox.cli.words import age, listed, source_text
from model.component import short
from model.dead_letter import DeadLetter
from model.deployment import Deployment
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.pod import PodStatus, Sleeper
from model.release import Release, ReleaseState

Rows = Iterable[Sequence[object]]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind.

    Attributes:
        path: Its name in URLs of the control API, and the first of its names here.
        aliases: Its other names.
        record: The struct.
        key: Field that holds its name.
        columns: Of its table.
        rows: A record's rows, at a Unix time in seconds.
    """

    path: str
    aliases: frozenset[str]
    record: type
    key: str = "name"
    columns: tuple[str, ...]
    rows: Callable[[Any, float], Rows]

    @property
    def noun(self) -> str:
        """What one of them is called in a sentence."""
        return self.path.removesuffix("s").replace("-", " ")

    def record_of(self, stored: Any) -> Any:
        """Return the struct of one object that the control API answered with."""
        is_stored = isinstance(stored, dict) and stored.keys() == {"revision", "object"}
        return msgspec.convert(stored["object"] if is_stored else stored, self.record)

    def records(self, listed: Any) -> list[Any]:
        """Return the structs of a list."""
        return [self.record_of(each) for each in listed]

    def name_of(self, record: Any) -> str:
        """Return the name that a record is asked for by."""
        return str(getattr(record, self.key))


def find_kind(name: str) -> Kind:
    """Return the kind with this name.

    Raises:
        BadParameter: There is none.
    """
    for kind in KINDS:
        if name.lower() in {kind.path, *kind.aliases}:
            return kind
    known = ", ".join(kind.path for kind in KINDS)
    raise typer.BadParameter(f"{name!r} is no kind: expected one of {known}")


def _deployment_rows(each: Deployment, now_s: float) -> Rows:
    yield (
        each.name,
        each.app,
        each.version,
        len(each.components),
        source_text(each.source),
        age(each.created_at_s, now_s),
    )


def _pod_rows(each: PodStatus, now_s: float) -> Rows:
    yield (
        each.id,
        each.app,
        each.component,
        short(each.hash),
        each.phase.value,
        each.restarts,
        age(each.started_at_s, now_s),
        each.message,
    )


def _sleeper_rows(each: Sleeper, now_s: float) -> Rows:
    yield each.component, each.app, short(each.hash), age(each.since_s, now_s)


def _release_rows(each: ReleaseState, now_s: float) -> Rows:
    for status, release in _releases(each):
        at_s = release.archived_at_s or release.activated_at_s or release.requested_at_s
        for app, served in release.apps.items():
            yield (
                each.virtual_environment,
                status,
                app,
                served.deployment,
                served.version,
                age(at_s, now_s),
                release.id,
            )


def _releases(state: ReleaseState) -> Iterable[tuple[str, Release]]:
    if state.pending is not None:
        yield "pending", state.pending
    if state.active is not None:
        yield "active", state.active
    for release in state.history:
        reason = release.archive_reason
        yield f"archived ({reason.value})" if reason else "archived", release


def _environment_rows(each: Environment, _now_s: float) -> Rows:
    policy = each.release_policy.type.value if each.release_policy else ""
    yield each.name, listed(each.data.vars), listed(each.data.secrets), policy


def _virtual_environment_rows(each: VirtualEnvironment, _now_s: float) -> Rows:
    policy = each.release_policy.type.value if each.release_policy else ""
    yield each.name, each.environment, listed(each.data.vars), listed(each.data.secrets), policy


def _http_adapter_rows(each: HTTPAdapter, _now_s: float) -> Rows:
    yield each.name, each.url, listed(each.headers)


def _dead_letter_rows(each: DeadLetter, now_s: float) -> Rows:
    yield (
        each.id,
        each.app,
        f"{each.component}@{short(each.hash)}",
        each.deployment,
        each.virtual_environment,
        f"{each.method} {each.path}".strip(),
        each.attempts,
        age(each.died_at_s, now_s),
        each.detail,
    )


DEPLOYMENTS = Kind(
    path="deployments",
    aliases=frozenset({"deployment", "dep", "deps"}),
    record=Deployment,
    columns=("NAME", "APP", "VERSION", "COMPONENTS", "SOURCE", "AGE"),
    rows=_deployment_rows,
)
PODS = Kind(
    path="pods",
    aliases=frozenset({"pod", "po"}),
    record=PodStatus,
    key="id",
    columns=("POD", "APP", "COMPONENT", "HASH", "PHASE", "RESTARTS", "AGE", "MESSAGE"),
    rows=_pod_rows,
)
SLEEPERS = Kind(
    path="sleepers",
    aliases=frozenset({"sleeper"}),
    record=Sleeper,
    key="component",
    columns=("ASLEEP", "APP", "HASH", "SINCE"),
    rows=_sleeper_rows,
)
RELEASES = Kind(
    path="releases",
    aliases=frozenset({"release", "rel"}),
    record=ReleaseState,
    key="virtual_environment",
    columns=("VIRTUAL-ENV", "STATUS", "APP", "DEPLOYMENT", "VERSION", "AGE", "RELEASE"),
    rows=_release_rows,
)
ENVIRONMENTS = Kind(
    path="environments",
    aliases=frozenset({"environment", "env", "envs"}),
    record=Environment,
    columns=("NAME", "VARS", "SECRETS", "POLICY"),
    rows=_environment_rows,
)
VIRTUAL_ENVIRONMENTS = Kind(
    path="virtual-environments",
    aliases=frozenset({"virtual-environment", "virtualenvironment", "ve", "ves"}),
    record=VirtualEnvironment,
    columns=("NAME", "ENVIRONMENT", "VARS", "SECRETS", "POLICY"),
    rows=_virtual_environment_rows,
)
HTTP_ADAPTERS = Kind(
    path="http-adapters",
    aliases=frozenset({"http-adapter", "httpadapter", "http"}),
    record=HTTPAdapter,
    columns=("NAME", "URL", "HEADERS"),
    rows=_http_adapter_rows,
)
DEAD_LETTERS = Kind(
    path="dead-letters",
    aliases=frozenset({"dead-letter", "deadletter", "dl"}),
    record=DeadLetter,
    key="id",
    columns=(
        "ID",
        "APP",
        "FOR",
        "DEPLOYMENT",
        "ENVIRONMENT",
        "EVENT",
        "ATTEMPTS",
        "AGE",
        "REASON",
    ),
    rows=_dead_letter_rows,
)
KINDS = (
    DEPLOYMENTS,
    PODS,
    SLEEPERS,
    RELEASES,
    ENVIRONMENTS,
    VIRTUAL_ENVIRONMENTS,
    HTTP_ADAPTERS,
    DEAD_LETTERS,
)
