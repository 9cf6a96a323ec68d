"""The name of a deployment when none is given: ``<app>-<version | branch | tag | commit>``."""

from __future__ import annotations

from model.deployment import MIN_COMMIT_PREFIX, Deployment, SourceRef
from model.errors import Conflict, InvalidRequest
from model.names import clean_name


def default_name(app: str, source: SourceRef, version: str | None = None) -> str:
    """Return the name, brought into the alphabet of names.

    Raises:
        InvalidRequest: Nothing to call it by, or nothing of it is left in that alphabet.
    """
    text = _text(source, version)
    if not clean_name(text):
        raise InvalidRequest(
            f"{text!r} leaves nothing to name the deployment by: give it a NAME"
            if text
            else "there is no commit, branch or version to name the deployment by: give it a NAME"
        )
    return clean_name(f"{app}-{text}")


def check_free(
    name: str, app: str, source: SourceRef, version: str | None, there: Deployment
) -> None:
    """Return if ``there`` may be replaced under a default name that both have.

    Two branches such as ``fix/a`` and ``fix-a`` clean up to one name: deploying the second must
    not take the first's place unsaid.

    Args:
        name: The default name.
        app: Name of the app to deploy.
        source: What is deployed.
        version: Its version, or None.
        there: The deployment that has the name.

    Raises:
        Conflict: It is another app's, or another ref's.
    """
    if there.app != app:
        raise Conflict(f"deployment {name} is of app {there.app}, not {app}: give another NAME")
    text, other = _text(source, version), _text(there.source, there.version)
    if text != other and clean_name(f"{app}-{other}") == name:
        raise Conflict(
            f"{text!r} and {other!r}, which is deployed as {name}, clean up to the same name: "
            "give another NAME"
        )


def _text(source: SourceRef, version: str | None) -> str:
    return version or source.branch or source.tag or source.commit[:MIN_COMMIT_PREFIX]
