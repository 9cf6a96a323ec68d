"""A deployment: a name for one map of component name to content hash."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec

from kubefox.app import Module
from kubefox.formats import (
    LABEL,
    MAX_COMPONENTS,
    NAME,
    VERSION,
    Hash,
    Label,
    Name,
    OptionalCommit,
    Size,
    checked,
    documented,
)

Components = Annotated[dict[str, Hash], documented(Size(max_entries=MAX_COMPONENTS, keys=NAME))]
"""Component name to content hash."""


class SourceRef(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of the deployed tree in Git, at the time of the deployment.

    Attributes:
        commit: 40 hex characters, or empty outside a repository.
        branch: Branch that the ref named, or empty.
        tag: Tag that the ref named, or empty.
        is_dirty: Whether uncommitted changes were included.
    """

    commit: OptionalCommit = ""
    branch: Label = ""
    tag: Label = ""
    is_dirty: bool = False


class HasComponents(Protocol):
    """A deployment, or what it has in common with others."""

    @property
    def app(self) -> str:
        """Name of the app."""

    @property
    def components(self) -> dict[str, str]:
        """Component name to content hash."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an app, which requests select by its name.

    Attributes:
        name: Unique on the platform; the value of selector ``kf-dep``.
        app: Name of the app.
        components: Component name to content hash.
        version: Value of ``--version``; makes the deployment immutable.
        title: Title of the app.
        modules: Module name to its members, for people.
        source: Its origin in Git.
        created_at_s: Unix time of the first deployment under this name.
        generation: Number of this content among those that the name has had, from 1; never reused.
        activated_at_s: Unix time since which requests meet this content.
    """

    name: Name
    app: Name
    components: Components
    version: Annotated[str, documented(VERSION)] | None = None
    title: Label = ""
    modules: Annotated[
        dict[str, Module], checked(Size(max_entries=MAX_COMPONENTS, keys=LABEL))
    ] = {}
    source: SourceRef = SourceRef()
    created_at_s: float = 0
    generation: int = 1
    activated_at_s: float = 0

    @property
    def is_immutable(self) -> bool:
        """Whether other content under this name is refused."""
        return self.version is not None

    @property
    def labels(self) -> frozenset[str]:
        """Selectors that ``matches`` it besides its name; of the commit, the shortest prefix."""
        source = self.source
        return labels_of(self.version, source.tag, source.branch, source.commit)

    def matches(self, selector: str) -> bool:
        """Return whether ``selector`` is its name, version, tag, branch or commit.

        Seven or more characters of a commit are enough.
        """
        source = self.source
        if selector and selector in (self.name, self.version, source.tag, source.branch):
            return True
        return len(selector) >= MIN_COMMIT_PREFIX and source.commit.startswith(selector)


MIN_COMMIT_PREFIX = 7


def labels_of(version: str | None, tag: str, branch: str, commit: str) -> frozenset[str]:
    """Return ``Deployment.labels`` of these fields."""
    texts = (version, tag, branch, commit[:MIN_COMMIT_PREFIX])
    return frozenset([text for text in texts if text])
