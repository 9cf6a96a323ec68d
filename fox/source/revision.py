"""Refs: the commit, branch and tag that a name means now."""

from __future__ import annotations

from fox.source.git import Git, GitFailed
from kubefox.deployment import SourceRef
from kubefox.errors import NotFound

HEAD = "HEAD"


def resolve(git: Git, ref: str = HEAD) -> SourceRef:
    """Return the source of a branch, tag or commit.

    The source holds the tag of the commit, also if ``ref`` is a branch or the commit itself. If
    the commit has several tags, the highest version is taken.

    Raises:
        NotFound: The ref does not exist, or the repository has no commit.
    """
    commit = _commit(git, ref)
    tag = ref if _exists(git, f"refs/tags/{ref}") else _tag_at(git, commit)
    return SourceRef(commit=commit, branch="" if ref == tag else _branch(git, ref), tag=tag)


def resolve_dirty(git: Git) -> SourceRef:
    """Return the source of the working tree; it has no tag, because its content may differ."""
    commit = git.find("rev-parse", "--verify", "--quiet", f"{HEAD}^{{commit}}")
    return SourceRef(commit=commit, branch=_branch(git, HEAD), is_dirty=True)


def _commit(git: Git, ref: str) -> str:
    try:
        return git.text("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except GitFailed as error:
        if ref == HEAD:
            raise NotFound(
                "the repository has no commit yet: commit the app, or use --dirty"
            ) from error
        raise NotFound(f"the repository has no branch, tag or commit {ref!r}") from error


def _branch(git: Git, ref: str) -> str:
    if ref == HEAD:
        return git.find("symbolic-ref", "--quiet", "--short", HEAD)
    if _exists(git, f"refs/heads/{ref}"):
        return ref
    if _exists(git, f"refs/remotes/{ref}"):
        return ref.partition("/")[2]
    return ""


def _tag_at(git: Git, commit: str) -> str:
    # `git tag` would run the pager and the checks that the configuration names.
    options = ("--sort=-version:refname", "--format=%(refname:strip=2)")
    tags = git.find("for-each-ref", f"--points-at={commit}", *options, "refs/tags")
    return tags.partition("\n")[0]


def _exists(git: Git, full_ref: str) -> bool:
    return bool(git.find("show-ref", "--verify", "--hash", full_ref))
