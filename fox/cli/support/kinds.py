"""The kinds of objects that the CLI shows: their names, structs and table columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import typer

from fox.cli.support.phrases import age, listed, source_text
from fox.cli.support.times import show_end, show_time
from kubefox.audit import AuditRecord, Decision
from kubefox.component import short
from kubefox.dead_letter import DeadLetter
from kubefox.deployment import Deployment
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.errors import Problem
from kubefox.pod import IdleVersion, PodPhase, PodStatus
from kubefox.release import Release, ReleaseState
from kubefox.rollout import DeploymentState, Rollout
from kubefox.share import Share

Rows = Iterable[Sequence[object]]


class DeploymentStatus(Deployment, frozen=True, kw_only=True):
    """A deployment with its state.

    Attributes:
        state: Whether it is ready, and whether a change is rolling out or has failed.
        rollout: The latest change, if it is not complete: it is rolling, has failed or was aborted.
        warnings: Variables that it needs, and that virtual environments of its app lack.
    """

    state: DeploymentState
    rollout: Rollout | None = None
    warnings: tuple[Problem, ...] = ()


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of object.

    Attributes:
        path: The kind's main name, and its segment in URLs of the control API.
        aliases: Other names of the kind on the command line.
        record: The struct of an object.
        key: The struct's field that holds the name of an object.
        columns: Columns of the table.
        rows: Returns the table rows of an object; its second argument is the Unix time now.
        wide_columns: Further columns of the wide table.
        wide_cells: Returns the cells of an object in these columns.
        filters: Options of `fox get` that select objects of the kind, with their query parameters.
        states: Values of the option ``--state``.
    """

    path: str
    aliases: frozenset[str]
    record: type
    key: str = "name"
    columns: tuple[str, ...]
    rows: Callable[[Any, float], Rows]
    wide_columns: tuple[str, ...] = ()
    wide_cells: Callable[[Any], tuple[object, ...]] = lambda _: ()
    filters: tuple[tuple[str, str], ...]
    states: tuple[str, ...] = ()

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The columns of the wide table."""
        return (*self.columns, *self.wide_columns)

    def wide_rows(self, record: Any, now_s: float) -> Rows:
        """Return the rows of an object in the wide table; see ``rows``."""
        return ((*row, *self.wide_cells(record)) for row in self.rows(record, now_s))

    @property
    def plural_noun(self) -> str:
        """The kind in a sentence, such as ``virtual environments``."""
        return self.path.replace("-", " ")

    @property
    def noun(self) -> str:
        """One object of the kind in a sentence, such as ``virtual environment``."""
        return self.plural_noun.removesuffix("s")

    def record_of(self, document: Any) -> Any:
        """Return the struct of a document of the control API, with or without its revision.

        A field beside the object, such as its state, becomes a field of the struct.
        """
        if isinstance(document, dict) and document.keys() >= {"revision", "object"}:
            document = {**document, **document["object"]}
        return msgspec.convert(document, self.record)

    def records(self, documents: Any) -> list[Any]:
        """Return the structs of a list of documents."""
        return [self.record_of(document) for document in documents]

    def name_of(self, record: Any) -> str:
        """Return the name of an object."""
        return str(getattr(record, self.key))


def find_kind(name: str) -> Kind:
    """Return the kind with this name or alias.

    Raises:
        BadParameter: No kind has this name.
    """
    for kind in KINDS:
        if name.lower() in {kind.path, *kind.aliases}:
            return kind
    known = ", ".join(kind.path for kind in KINDS)
    raise typer.BadParameter(f"{name!r} is not a kind: expected one of {known}")


def _deployment_rows(deployment: DeploymentStatus, now_s: float) -> Rows:
    yield (
        deployment.name,
        deployment.app,
        deployment.version,
        deployment.state.value,
        len(deployment.components),
        source_text(deployment.source),
        age(deployment.created_at_s, now_s),
    )


def _pod_rows(pod: PodStatus, now_s: float) -> Rows:
    yield (
        pod.id,
        pod.app,
        pod.component,
        short(pod.hash),
        pod.phase.value,
        pod.restarts,
        age(pod.started_at_s, now_s),
        pod.runner,
        pod.node,
        pod.message,
    )


def _idle_version_rows(version: IdleVersion, now_s: float) -> Rows:
    yield version.component, version.app, short(version.hash), age(version.since_s, now_s)


def _release_rows(state: ReleaseState, now_s: float) -> Rows:
    for status, release in _releases(state):
        at_s = release.archived_at_s or release.activated_at_s or release.requested_at_s
        for app, target in release.apps.items():
            yield (
                state.virtual_environment,
                status,
                app,
                target.deployment,
                target.version,
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


def _environment_rows(environment: Environment, _now_s: float) -> Rows:
    policy = environment.release_policy.type.value if environment.release_policy else ""
    yield (
        environment.name,
        listed(environment.data.vars),
        listed(environment.data.secrets),
        policy,
        _selection_text(environment),
    )


def _virtual_environment_rows(environment: VirtualEnvironment, _now_s: float) -> Rows:
    policy = environment.release_policy.type.value if environment.release_policy else ""
    yield (
        environment.name,
        environment.environment,
        listed(environment.data.vars),
        listed(environment.data.secrets),
        policy,
        _selection_text(environment),
    )


def _selection_text(environment: Environment | VirtualEnvironment) -> str:
    if environment.production:
        return "production"
    return environment.selection.value if environment.selection else ""


def _http_adapter_rows(adapter: HTTPAdapter, _now_s: float) -> Rows:
    yield adapter.name, adapter.url, listed(adapter.headers)


def _dead_letter_rows(letter: DeadLetter, now_s: float) -> Rows:
    yield (
        letter.id,
        letter.app,
        f"{letter.component}@{short(letter.hash)}",
        letter.deployment,
        letter.virtual_environment,
        f"{letter.method} {letter.path}".strip(),
        letter.attempts,
        age(letter.died_at_s, now_s),
        letter.detail,
    )


def _share_rows(share: Share, now_s: float) -> Rows:
    yield (
        share.name,
        share.deployment,
        share.virtual_environment,
        share.host,
        show_end(share.expires_at_s, now_s),
        age(share.created_at_s, now_s),
    )


def _audit_rows(record: AuditRecord, _now_s: float) -> Rows:
    yield (
        show_time(record.at_s),
        record.caller or f"({record.kind})",
        record.address,
        record.operation,
        record.target,
        record.decision.value,
        record.status,
        record.reason or record.code,
    )


def _filters(*same: str, **named: str) -> tuple[tuple[str, str], ...]:
    """Return the query parameters of options: those of the same name, and others."""
    return (("prefix", "name_prefix"), *zip(same, same, strict=True), *named.items())


DEPLOYMENTS = Kind(
    path="deployments",
    aliases=frozenset({"deployment", "dep", "deps"}),
    record=DeploymentStatus,
    columns=("NAME", "APP", "VERSION", "STATE", "COMPONENTS", "SOURCE", "AGE"),
    rows=_deployment_rows,
    wide_columns=("GENERATION", "COMMIT", "TITLE"),
    wide_cells=lambda deployment: (
        deployment.generation,
        deployment.source.commit,
        deployment.title,
    ),
    filters=_filters("app", "component", "state"),
    states=tuple(state.value for state in DeploymentState),
)
PODS = Kind(
    path="pods",
    aliases=frozenset({"pod", "po"}),
    record=PodStatus,
    key="id",
    columns=(
        "POD",
        "APP",
        "COMPONENT",
        "HASH",
        "PHASE",
        "RESTARTS",
        "AGE",
        "RUNNER",
        "NODE",
        "MESSAGE",
    ),
    rows=_pod_rows,
    wide_columns=("PID", "NAME", "IMAGE", "CONTENT-HASH"),
    wide_cells=lambda pod: (pod.pid, pod.name, pod.image, pod.hash),
    filters=_filters("app", "component", "deployment", "runner", state="phase"),
    states=tuple(phase.value for phase in PodPhase),
)
IDLE_VERSIONS = Kind(
    path="idle-versions",
    aliases=frozenset({"idle-version", "idle"}),
    record=IdleVersion,
    key="component",
    columns=("IDLE", "APP", "HASH", "SINCE"),
    rows=_idle_version_rows,
    wide_columns=("CONTENT-HASH",),
    wide_cells=lambda version: (version.hash,),
    filters=_filters("app", "component", "deployment"),
)
RELEASES = Kind(
    path="releases",
    aliases=frozenset({"release", "rel"}),
    record=ReleaseState,
    key="virtual_environment",
    columns=("VIRTUAL-ENV", "STATUS", "APP", "DEPLOYMENT", "VERSION", "AGE", "RELEASE"),
    rows=_release_rows,
    filters=_filters("app", "deployment", "environment", state="status"),
    states=("active", "pending"),
)
ENVIRONMENTS = Kind(
    path="environments",
    aliases=frozenset({"environment", "env", "envs"}),
    record=Environment,
    columns=("NAME", "VARS", "SECRETS", "POLICY", "SELECTION"),
    rows=_environment_rows,
    filters=_filters(),
)
VIRTUAL_ENVIRONMENTS = Kind(
    path="virtual-environments",
    aliases=frozenset({"virtual-environment", "virtualenvironment", "ve", "ves"}),
    record=VirtualEnvironment,
    columns=("NAME", "ENVIRONMENT", "VARS", "SECRETS", "POLICY", "SELECTION"),
    rows=_virtual_environment_rows,
    filters=_filters("environment"),
)
HTTP_ADAPTERS = Kind(
    path="http-adapters",
    aliases=frozenset({"http-adapter", "httpadapter", "http"}),
    record=HTTPAdapter,
    columns=("NAME", "URL", "HEADERS"),
    rows=_http_adapter_rows,
    filters=_filters(),
)
AUDIT_RECORDS = Kind(
    path="audit-records",
    aliases=frozenset({"audit-record", "audit"}),
    record=AuditRecord,
    key="id",
    columns=("TIME", "CALLER", "FROM", "OPERATION", "TARGET", "DECISION", "STATUS", "REASON"),
    rows=_audit_rows,
    wide_columns=("ID", "DETAILS", "REVISIONS", "PROCESS"),
    wide_cells=lambda record: (
        record.id,
        listed(record.details),
        f"{record.revision_before} → {record.revision_after}",
        record.process,
    ),
    filters=_filters("caller", "operation", "target", state="decision"),
    states=tuple(decision.value for decision in Decision),
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
    filters=_filters("app", "component", "deployment", **{"virtual-env": "virtual_environment"}),
)
SHARES = Kind(
    path="shares",
    aliases=frozenset({"share"}),
    record=Share,
    columns=("SHARE", "DEPLOYMENT", "VIRTUAL-ENV", "HOST", "EXPIRES", "AGE"),
    rows=_share_rows,
    filters=_filters("deployment", **{"virtual-env": "virtual_environment"}),
)
KINDS = (
    DEPLOYMENTS,
    PODS,
    IDLE_VERSIONS,
    RELEASES,
    ENVIRONMENTS,
    VIRTUAL_ENVIRONMENTS,
    HTTP_ADAPTERS,
    DEAD_LETTERS,
    SHARES,
    AUDIT_RECORDS,
)
DELETABLE = (ENVIRONMENTS, VIRTUAL_ENVIRONMENTS, HTTP_ADAPTERS, DEAD_LETTERS)
