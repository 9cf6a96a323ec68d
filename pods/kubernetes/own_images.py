"""The images that components name: an administrator lists the repositories that they may be in.

The nodes pull with the login of the platform (``imagePullSecrets``). Without a list, users who may
deploy would run, and so read, every image that this login reaches.
"""

from __future__ import annotations

from kubefox.errors import InvalidRequest
from kubefox.formats import IMAGE, IMAGE_REPOSITORY

SETTING = "FOX_POD_IMAGE_REPOSITORIES"


def parse_repositories(text: str) -> tuple[str, ...]:
    """Return the registries, folders and repositories of ``FOX_POD_IMAGE_REPOSITORIES``.

    Args:
        text: They are separated by commas; a ``/`` at the end of one has no meaning.

    Raises:
        InvalidRequest: One is not valid; the message names it.
    """
    entries = (part.strip().removesuffix("/") for part in text.split(","))
    repositories = tuple(entry for entry in entries if entry)
    for repository in repositories:
        if fault := IMAGE_REPOSITORY.fault(repository):
            raise InvalidRequest(f"{SETTING}={text!r}: {fault}")
    return repositories


def check_image(image: str, repositories: tuple[str, ...]) -> None:
    """Check that nodes may pull an image that a component names.

    Args:
        image: With its digest.
        repositories: Those that are allowed, with all below them.

    Raises:
        InvalidRequest: It is not valid, or in none of the repositories.
    """
    if fault := IMAGE.fault(image):
        raise InvalidRequest(fault)
    repository = _repository(image)
    if not any(f"{repository}/".startswith(f"{allowed}/") for allowed in repositories):
        allowed = ", ".join(repositories) or "none"
        raise InvalidRequest(
            f"image repository {repository} is not allowed: {SETTING} has {allowed}"
        )


def _repository(image: str) -> str:
    """Return the reference without its tag and its digest."""
    name = image.partition("@")[0]
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition(':')[0]}"
