"""The working tree: its uncommitted changes, and the tree that a commit of it would have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fox.source.git import Git, split_entries
from fox.source.scratch_repository import scratch_repository
from fox.source.tree import Tree, read_tree

# Git would run in a submodule to find changes there, with the submodule's configuration.
_SUBMODULES = "--ignore-submodules=dirty"


def changes(git: Git) -> tuple[str, ...]:
    """Return the paths of uncommitted changes below git's folder, relative to it."""
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all", _SUBMODULES)
    with scratch_repository(git) as scratch:
        listing = scratch.run("status", *options, "--", ".")
    prefix = os.fsencode(git.text("rev-parse", "--show-prefix"))
    # Each entry is two letters of state, a space, and a path relative to the repository.
    return tuple(os.fsdecode(entry[3:].removeprefix(prefix)) for entry in split_entries(listing))


@contextmanager
def written_tree(git: Git) -> Iterator[Tree]:
    """Write the working tree as the tree that a commit would have; the repository is not changed.

    Git itself applies ignore rules, deletions, modes, links and line-end conversions. So equal
    files have equal hashes, committed or not. Filters, such as those of Git LFS, are not run. The
    tree's object store is removed when the context ends.
    """
    with scratch_repository(git) as scratch:
        scratch.run("add", "--all", "--", ".")
        yield read_tree(scratch, scratch.text("write-tree"))
