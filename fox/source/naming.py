"""The default name of a deployment: ``<app>-<version | branch | tag | commit>``."""

from __future__ import annotations

from kubefox.deployment import MIN_COMMIT_PREFIX, Deployment, SourceRef
from kubefox.errors import Conflict, InvalidRequest
from kubefox.names import clean_name


def default_name(app: str, source: SourceRef, version: str | None = None) -> str:
    """Return the default name, with characters that names may not hold replaced.

    Raises:
        InvalidRequest: There is no version, branch, tag or commit, or none of its characters may
            stand in a name.
    """
    label = _label(source, version)
    if not clean_name(label):
        raise InvalidRequest(
            f"the deployment cannot be named after {label!r}: give it a NAME"
            if label
            else "there is no commit, branch or version to name the deployment after: "
            "give it a NAME"
        )
    return clean_name(f"{app}-{label}")


def check_free(
    name: str, app: str, source: SourceRef, version: str | None, existing: Deployment
) -> None:
    """Check that a deployment may be replaced under a default name.

    Two branches such as ``fix/a`` and ``fix-a`` give the same name. Deploying the second must not
    replace the deployment of the first without a word.

    Args:
        name: The default name.
        app: Name of the app to deploy.
        source: The source to deploy.
        version: Its version, or None.
        existing: The deployment that has the name.

    Raises:
        Conflict: The existing deployment is of another app, or of another ref.
    """
    if existing.app != app:
        raise Conflict(f"deployment {name} is of app {existing.app}, not {app}: give another NAME")
    label, other = _label(source, version), _label(existing.source, existing.version)
    if label != other and clean_name(f"{app}-{other}") == name:
        raise Conflict(
            f"{label!r} and {other!r}, which is deployed as {name}, give the same name: "
            "give another NAME"
        )


def _label(source: SourceRef, version: str | None) -> str:
    return version or source.branch or source.tag or source.commit[:MIN_COMMIT_PREFIX]
