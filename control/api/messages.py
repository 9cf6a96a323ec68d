"""Bodies and query parameters of the control API that are not records of the control plane."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.deployment import Components, Deployment
from kubefox.errors import Problem
from kubefox.formats import (
    DEADLINE_S,
    MAX_COMPONENTS,
    NAME,
    VERSION,
    Generation,
    Label,
    Name,
    OptionalName,
    OptionalReleaseId,
    Range,
    Size,
    checked,
    documented,
)
from kubefox.key_ring import KeyKind
from kubefox.release import MAX_APPS, ReleasedApp
from kubefox.stored_token import Grants, TokenInfo

MAX_WINDOW_S = 60
TTL_S = Range(minimum=0, maximum=10 * 366 * 86_400, is_above_minimum=True)
DEFAULT_TTL_S = 90 * 86_400


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment to plan.

    Attributes:
        name: Name of the deployment.
        app: Name of the app.
        components: Component name to content hash; empty plans an undeployment.
        version: Version of the deployment.
        definitions: Definitions of new component versions, by name; only the warnings need them.
    """

    name: Name
    app: Name
    components: Components = {}
    version: Annotated[str, documented(VERSION)] | None = None
    definitions: Annotated[
        dict[str, ComponentDefinition], checked(Size(max_entries=MAX_COMPONENTS, keys=NAME))
    ] = {}


class DeployRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment to create or replace.

    Attributes:
        deployment: The deployment.
        components: Its component versions; those that are stored already may be omitted.
        deadline_s: How long a rollout may take until all pods are ready, in seconds; null means the
            setting of the platform.
    """

    deployment: Deployment
    components: Annotated[
        tuple[ComponentVersion, ...], documented(Size(max_entries=MAX_COMPONENTS))
    ] = ()
    deadline_s: Annotated[float, documented(DEADLINE_S)] | None = None


class UndoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout to an earlier generation of a deployment.

    Attributes:
        generation: Number of the generation. Null ends a rollout that is rolling; if there is none,
            it means the generation before the current one.
        deadline_s: How long the rollout may take until all pods are ready, in seconds; null means
            the setting of the platform.
    """

    generation: Generation | None = None
    deadline_s: Annotated[float, documented(DEADLINE_S)] | None = None


class AbortRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An empty object: there is nothing to choose."""


class ReleaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A release to request: either ``selector`` or ``apps``.

    Attributes:
        selector: Name, commit, version, tag or branch of one deployment; other apps keep theirs.
        app: The selector matches only deployments of this app.
        apps: Every app of the release. An empty object withdraws the active and the pending
            release.
    """

    selector: Label = ""
    app: OptionalName = ""
    apps: (
        Annotated[dict[str, ReleasedApp], checked(Size(max_entries=MAX_APPS, keys=NAME))] | None
    ) = None


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A rollback to request.

    Attributes:
        release: Id of the archived release to restore. Empty drops the pending release; if there is
            none, it means the last one that was active.
    """

    release: OptionalReleaseId = ""


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a removal of unused data.

    Attributes:
        dry_run: Only return what is unused.
        with_state: Also remove the state of virtual environments that do not exist.
    """

    dry_run: bool = False
    with_state: bool = False


class KeyRotationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A key to replace.

    Attributes:
        kind: ``sealing`` for event contexts, ``data`` for secrets, or ``key-encryption`` for the
            key that wraps the data keys.
    """

    kind: KeyKind


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A token to create.

    Attributes:
        name: Name of the token, unique among the tokens.
        grants: Its roles, at least one.
        ttl_s: How long it is valid, in seconds.
    """

    name: Name
    grants: Grants
    ttl_s: Annotated[float, checked(TTL_S)] = DEFAULT_TTL_S


class CreatedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token.

    Attributes:
        token: The text of the token: it is shown only here.
        info: What is shown of it later.
    """

    token: str
    info: TokenInfo


class ForceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of operations that can be forced.

    Attributes:
        force: Execute the operation even if it breaks or deletes an active release.
    """

    force: bool = False


class ExplainQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to explain.

    Attributes:
        url: An absolute URL, or a path with or without a query.
        method: HTTP method.
        header: Header line ``Name: value``; may be repeated.
    """

    url: str
    method: str = "GET"
    header: tuple[str, ...] = ()


class StatsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the statistics.

    Attributes:
        window_s: Count the events of this many seconds from now on; 0 returns all counts since
            the start.
    """

    window_s: Annotated[float, documented(Range(minimum=0, maximum=MAX_WINDOW_S))] = 0


class MetricsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the metrics.

    Attributes:
        leader_only: Return the metrics from one control process of several, and none from the
            others. A monitor that scrapes all of them counts each event once then.
    """

    leader_only: bool = False


class FollowersQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The revision to follow.

    Attributes:
        revision: Of the record that was changed; 0 for the newest that the control process knows.
    """

    revision: Annotated[int, checked(Range(minimum=0))] = 0


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all processes that route requests have followed a revision.

    Attributes:
        behind: Ids of those that have not: they have ended without notice, or are not connected to
            NATS.
    """

    behind: tuple[str, ...] = ()


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No query parameters."""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was stored.

    Attributes:
        hash: Content hash of the bundle.
    """

    hash: str


class PlatformVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the platform.

    Attributes:
        version: Version of the KubeFox package.
    """

    version: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the process.

    Attributes:
        status: Always ``ok``; other states are errors.
        parts: Whether each part of the process is ready, by its name.
    """

    status: str
    parts: dict[str, bool] = {}


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, in the form of RFC 9457.

    Attributes:
        title: Reason phrase of the HTTP status.
        status: HTTP status.
        code: Code of the error class, for programs.
        detail: Description of the failure, the object and the expectation, for people.
        hop: ``component@hash`` that failed, where known.
        problems: All problems that were found, with status 422.
        continue_: Token for the rest of a list at a newer revision, with status 410.
    """

    title: str
    status: int
    code: str
    detail: str
    hop: str = ""
    problems: tuple[Problem, ...] = ()
    continue_: str = msgspec.field(default="", name="continue")
