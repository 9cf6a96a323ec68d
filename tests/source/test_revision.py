from __future__ import annotations

from pathlib import Path

import pytest

from fox.source.git import Git, GitFailed, cut, open_repository
from fox.source.revision import resolve, resolve_dirty
from model.errors import InternalError, InvalidRequest, NotFound
from tests.support.repository import Repository


@pytest.fixture
def git(repository: Repository) -> Git:
    return open_repository(repository.folder)


def test_the_checked_out_commit_is_known_by_its_branch(repository: Repository, git: Git) -> None:
    source = resolve(git)

    assert source.commit == repository.git("rev-parse", "HEAD")
    assert (source.branch, source.tag, source.is_dirty) == ("main", "", False)


def test_a_commit_is_known_by_its_highest_tag_too(repository: Repository, git: Git) -> None:
    repository.git("tag", "v1.9")
    repository.git("tag", "v1.10")

    source = resolve(git)

    assert (source.branch, source.tag) == ("main", "v1.10")


def test_a_tag_is_known_by_its_own_name(repository: Repository, git: Git) -> None:
    repository.git("tag", "--annotate", "--message", "First", "v1")
    repository.git("tag", "v2")

    source = resolve(git, "v1")

    assert (source.branch, source.tag) == ("", "v1")
    assert source.commit == repository.git("rev-parse", "HEAD")


def test_a_tag_counts_before_a_branch_of_the_same_name(repository: Repository, git: Git) -> None:
    tagged = repository.commit("same")
    repository.commit()
    repository.git("branch", "same")

    source = resolve(git, "same")

    assert (source.commit, source.branch, source.tag) == (tagged, "", "same")


def test_a_remote_branch_is_known_without_the_remote(repository: Repository, git: Git) -> None:
    repository.git("update-ref", "refs/remotes/origin/fix/a", "HEAD")

    assert resolve(git, "origin/fix/a").branch == "fix/a"


def test_a_detached_commit_has_no_branch(repository: Repository, git: Git) -> None:
    repository.git("checkout", "--quiet", "--detach")

    assert resolve(git).branch == ""
    assert resolve(git, resolve(git).commit[:7]).commit == repository.git("rev-parse", "HEAD")


def test_a_dirty_tree_is_not_what_its_tag_names(repository: Repository, git: Git) -> None:
    repository.git("tag", "v1")

    source = resolve_dirty(git)

    assert (source.branch, source.tag, source.is_dirty) == ("main", "", True)


@pytest.mark.parametrize("ref", ["nope", "--help", "main:app.yaml"])
def test_a_ref_that_names_no_commit_is_not_found(git: Git, ref: str) -> None:
    with pytest.raises(NotFound, match="names no branch, tag or commit"):
        resolve(git, ref)


def test_a_repository_without_a_commit_says_so(tmp_path: Path) -> None:
    git = open_repository(Repository(tmp_path).folder)

    with pytest.raises(NotFound, match="no commit yet"):
        resolve(git)


def test_variables_of_a_hook_do_not_lead_to_its_repository(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")

    assert resolve(open_repository(repository.folder)).branch == "main"


def test_a_machine_without_git_says_so(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(InvalidRequest, match="git is not installed"):
        resolve(git)


def test_a_failed_command_says_what_git_said(git: Git) -> None:
    with pytest.raises(GitFailed, match="git ls-tree: Not a valid object name nope"):
        git.run("ls-tree", "nope")


def test_a_listing_that_is_cut_short_is_noticed() -> None:
    assert cut(b"") == []
    assert cut(b"a\0b\0") == [b"a", b"b"]
    with pytest.raises(InternalError):
        cut(b"a\0b")
