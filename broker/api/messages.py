"""Bodies and query parameters of the control API that are not records of the model."""

from __future__ import annotations

import msgspec

from model.component import ComponentVersion
from model.deployment import Deployment
from model.errors import Problem
from model.release import ReleasedApp


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What deploying ``components`` under ``name`` would mean; none plans an undeployment."""

    name: str
    app: str
    components: dict[str, str] = {}
    version: str | None = None


class DeployRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, and those of its component versions that the platform may not know yet."""

    deployment: Deployment
    components: tuple[ComponentVersion, ...] = ()


class ReleaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What plain URLs are to be served by.

    Attributes:
        selector: Name, commit, version, tag or branch of one deployment; other apps stay.
        app: Narrows the selector to one app.
        apps: In place of a selector: every app that the release is to have; without any the
            active and the pending release are withdrawn.
    """

    selector: str = ""
    app: str = ""
    apps: dict[str, ReleasedApp] | None = None


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which archived release to restore; empty means the last one that was active."""

    release: str = ""


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What of all that is unused is to go.

    Attributes:
        dry_run: Only tell.
        with_state: Data of virtual environments that do not exist, too.
    """

    dry_run: bool = False
    with_state: bool = False


class ForceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether to do it though something released is served no more."""

    force: bool = False


class ExplainQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to explain; ``header`` is ``Name: value`` and may be repeated."""

    url: str
    method: str = "GET"
    header: tuple[str, ...] = ()


class StatsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to look at what comes; 0 shows only what has been counted."""

    window_s: float = 0


class DeadLettersQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many dead letters to list, the oldest first."""

    limit: int = 1_000


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No query parameter is known."""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is stored."""

    hash: str


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """Version of the platform."""

    version: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process does its work, and each of its parts."""

    status: str
    parts: dict[str, bool] = {}


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A failure, by RFC 9457.

    Attributes:
        title: Phrase of the status.
        status: HTTP status.
        code: Of the kind of failure; see ``model.errors``.
        detail: What, which one and what was expected.
        hop: ``component@hash`` that failed, where known.
        problems: With status 422, everything that was found.
    """

    title: str
    status: int
    code: str
    detail: str
    hop: str = ""
    problems: tuple[Problem, ...] = ()
