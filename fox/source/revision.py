"""What a ref names: its commit, branch and tag at this time."""

from __future__ import annotations

from fox.source.git import Git, GitFailed
from model.deployment import SourceRef
from model.errors import NotFound

HEAD = "HEAD"


def resolve(git: Git, ref: str = HEAD) -> SourceRef:
    """Return the source ref of a branch, tag or commit.

    A commit that has a tag is known by it too, whichever way it was named; of several tags the
    highest version counts.

    Raises:
        NotFound: No such ref, or a repository without a commit.
    """
    commit = _commit(git, ref)
    tag = ref if _exists(git, f"refs/tags/{ref}") else _tag_at(git, commit)
    return SourceRef(commit=commit, branch="" if ref == tag else _branch(git, ref), tag=tag)


def resolve_dirty(git: Git) -> SourceRef:
    """Return the source ref of the working tree: no tag, as it is not what the tag names."""
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
        raise NotFound(f"{ref!r} names no branch, tag or commit of the repository") from error


def _branch(git: Git, ref: str) -> str:
    if ref == HEAD:
        return git.find("symbolic-ref", "--quiet", "--short", HEAD)
    if _exists(git, f"refs/heads/{ref}"):
        return ref
    if _exists(git, f"refs/remotes/{ref}"):
        return ref.partition("/")[2]
    return ""


def _tag_at(git: Git, commit: str) -> str:
    tags = git.find("tag", "--points-at", commit, "--sort=-version:refname")
    return tags.partition("\n")[0]


def _exists(git: Git, full_ref: str) -> bool:
    return bool(git.find("show-ref", "--verify", "--hash", full_ref))
