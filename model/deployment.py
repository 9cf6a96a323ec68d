"""A deployment: a name for one map of component name to content hash."""

from __future__ import annotations

import msgspec

from model.app import Module


class SourceRef(msgspec.Struct, frozen=True, kw_only=True):
    """Where in Git the deployed tree came from, as it was at that time.

    Attributes:
        commit: 40 hex characters, or empty outside a repository.
        branch: Branch the ref named, or empty.
        tag: Tag the ref named, or empty.
        is_dirty: Whether uncommitted changes were taken along.
    """

    commit: str = ""
    branch: str = ""
    tag: str = ""
    is_dirty: bool = False


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an app that can be reached by its name.

    Attributes:
        name: Unique on the platform: what ``kf-dep`` names.
        app: Name of the app.
        components: Component name to content hash.
        version: Given by ``--version``; makes the deployment immutable.
        title: Title of the app.
        modules: Module name to its members, for people.
        source: Where in Git it came from.
        created_at_s: Unix time of the first deployment under this name.
    """

    name: str
    app: str
    components: dict[str, str]
    version: str | None = None
    title: str = ""
    modules: dict[str, Module] = {}
    source: SourceRef = SourceRef()
    created_at_s: float = 0

    @property
    def is_immutable(self) -> bool:
        """Whether other content may not be deployed under this name."""
        return self.version is not None

    @property
    def labels(self) -> frozenset[str]:
        """What it answers to besides its name; of the commit the shortest that it answers to."""
        source = self.source
        texts = (self.version, source.tag, source.branch, source.commit[:MIN_COMMIT_PREFIX])
        return frozenset(text for text in texts if text)

    def answers_to(self, selector: str) -> bool:
        """Return whether ``selector`` names this: name, version, tag, branch or commit.

        A commit may be shortened to seven characters or more.
        """
        source = self.source
        if selector and selector in (self.name, self.version, source.tag, source.branch):
            return True
        return len(selector) >= MIN_COMMIT_PREFIX and source.commit.startswith(selector)


MIN_COMMIT_PREFIX = 7
