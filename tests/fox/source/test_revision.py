from __future__ import annotations

from pathlib import Path

import pytest

from fox.source.git import Git, GitFailed, open_repository, split_entries
from fox.source.revision import resolve, resolve_dirty
from kubefox.errors import InternalError, InvalidRequest, NotFound
from tests.support.repository import Repository


@pytest.fixture
def git(repository: Repository) -> Git:
    return open_repository(repository.folder)


def test_head_resolves_to_its_commit_and_branch(repository: Repository, git: Git) -> None:
    source = resolve(git)

    assert source.commit == repository.git("rev-parse", "HEAD")
    assert (source.branch, source.tag, source.is_dirty) == ("main", "", False)


def test_the_source_holds_the_highest_tag_of_the_commit(repository: Repository, git: Git) -> None:
    repository.git("tag", "v1.9")
    repository.git("tag", "v1.10")

    source = resolve(git)

    assert (source.branch, source.tag) == ("main", "v1.10")


def test_a_tag_resolves_to_itself_among_several_tags(repository: Repository, git: Git) -> None:
    repository.git("tag", "--annotate", "--message", "First", "v1")
    repository.git("tag", "v2")

    source = resolve(git, "v1")

    assert (source.branch, source.tag) == ("", "v1")
    assert source.commit == repository.git("rev-parse", "HEAD")


def test_a_tag_wins_over_a_branch_of_the_same_name(repository: Repository, git: Git) -> None:
    tagged = repository.commit("same")
    repository.commit()
    repository.git("branch", "same")

    source = resolve(git, "same")

    assert (source.commit, source.branch, source.tag) == (tagged, "", "same")


def test_a_remote_branch_resolves_to_its_name_without_the_remote(
    repository: Repository, git: Git
) -> None:
    repository.git("update-ref", "refs/remotes/origin/fix/a", "HEAD")

    assert resolve(git, "origin/fix/a").branch == "fix/a"


def test_a_detached_commit_has_no_branch(repository: Repository, git: Git) -> None:
    repository.git("checkout", "--quiet", "--detach")

    assert resolve(git).branch == ""
    assert resolve(git, resolve(git).commit[:7]).commit == repository.git("rev-parse", "HEAD")


def test_the_source_of_a_dirty_tree_has_no_tag(repository: Repository, git: Git) -> None:
    repository.git("tag", "v1")

    source = resolve_dirty(git)

    assert (source.branch, source.tag, source.is_dirty) == ("main", "", True)


@pytest.mark.parametrize("ref", ["nope", "--help", "main:app.yaml"])
def test_an_unknown_ref_is_not_found(git: Git, ref: str) -> None:
    with pytest.raises(NotFound, match="has no branch, tag or commit"):
        resolve(git, ref)


def test_a_repository_without_a_commit_is_reported(tmp_path: Path) -> None:
    git = open_repository(Repository(tmp_path).folder)

    with pytest.raises(NotFound, match="no commit yet"):
        resolve(git)


def test_git_variables_of_a_hook_are_ignored(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")

    assert resolve(open_repository(repository.folder)).branch == "main"


def test_missing_git_is_reported(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(InvalidRequest, match="git is not installed"):
        resolve(git)


def test_a_failed_command_raises_with_gits_message(git: Git) -> None:
    with pytest.raises(GitFailed, match="git ls-tree: Not a valid object name nope"):
        git.run("ls-tree", "nope")


def test_a_truncated_listing_raises() -> None:
    assert split_entries(b"") == []
    assert split_entries(b"a\0b\0") == [b"a", b"b"]
    with pytest.raises(InternalError):
        split_entries(b"a\0b")
