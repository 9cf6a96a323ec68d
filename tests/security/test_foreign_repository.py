"""Reading a repository that somebody else made runs nothing of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from fox.source.app import read_app
from kubefox.errors import FoxError, InvalidRequest, ProblemsFound
from tests.security.hostile_repository import (
    ATTACKS,
    MORE_PROGRAMS,
    Attack,
    HostileRepository,
    fetch_with_a_program,
)
from tests.support.repository import app_files

MAIN = "components/api/main.py"


@pytest.fixture
def hostile(tmp_path: Path) -> HostileRepository:
    return HostileRepository(tmp_path)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_reading_an_app_runs_no_program_of_its_repository(
    hostile: HostileRepository, attack: Attack
) -> None:
    attack(hostile)
    hostile.touch(MAIN)
    hostile.canary.unlink(missing_ok=True)

    # A change or a missing object is an error, which must not be found by running a program.
    for ref in (None, "main"):
        with contextlib.suppress(FoxError):
            read_app(hostile.folder, ref=ref)
    app = read_app(hostile.folder, is_dirty=True)

    assert not hostile.canary.exists()
    contents = {file.path: file.content for file in app.components["api"].files}
    assert contents[MAIN] == (hostile.folder / MAIN).read_bytes()
    assert _runs_with_git_alone(hostile, ATTACKS[attack])


def _runs_with_git_alone(hostile: HostileRepository, command: tuple[str, ...]) -> bool:
    """Return whether the attack is a real one: plain git runs the program."""
    subprocess.run(["git", *command], cwd=hostile.root, capture_output=True, check=False)
    return hostile.canary.exists()


def test_a_missing_object_is_an_error_that_names_the_cure(hostile: HostileRepository) -> None:
    fetch_with_a_program(hostile)

    with pytest.raises(InvalidRequest, match="is missing in the Git repository"):
        read_app(hostile.folder, ref="main")


def test_no_other_program_of_the_configuration_is_run(hostile: HostileRepository) -> None:
    for key in MORE_PROGRAMS:
        hostile.config(key, hostile.program)
    for hook in (hostile.root / ".git/hooks").glob("*.sample"):
        hostile.hook(hook.stem)
    hostile.touch(MAIN)

    read_app(hostile.folder)
    read_app(hostile.folder, is_dirty=True)

    assert not hostile.canary.exists()


def test_variables_of_the_caller_name_no_program(
    hostile: HostileRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PAGER", "GIT_ASKPASS"):
        monkeypatch.setenv(name, hostile.program)
    parameters = f"'core.fsmonitor'='{hostile.program}'"
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", parameters)
    hostile.touch(MAIN)

    read_app(hostile.folder)
    read_app(hostile.folder, is_dirty=True)

    assert not hostile.canary.exists()


def test_git_is_not_searched_in_the_repository(
    hostile: HostileRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hostile.folder / "git").symlink_to(hostile.program)
    monkeypatch.chdir(hostile.folder)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}{os.environ['PATH']}")

    read_app(hostile.folder, is_dirty=True)

    assert not hostile.canary.exists()


def test_a_working_tree_elsewhere_is_refused(hostile: HostileRepository, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "app.yaml").write_text("name: shop\n")
    hostile.config("core.worktree", str(private))

    with pytest.raises(InvalidRequest, match=r"remove core\.worktree"):
        read_app(hostile.folder, is_dirty=True)


def test_a_repository_inside_a_working_tree_is_not_opened(
    hostile: HostileRepository, tmp_path: Path
) -> None:
    bare = tmp_path / "app" / "bare"
    hostile.git("init", "--quiet", "--bare", "bare")
    (bare / "config").write_text(
        f'[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = "{bare}"\n'
        f"\tfsmonitor = {hostile.program}\n"
    )
    (bare / "app.yaml").write_text("name: shop\n")

    with pytest.raises(InvalidRequest, match=r"safe\.bareRepository"):
        read_app(bare, is_dirty=True)

    assert not hostile.canary.exists()


def test_a_component_with_a_submodule_is_refused(hostile: HostileRepository) -> None:
    commit = hostile.git("rev-parse", "HEAD")
    entry = f"160000,{commit},components/api/inner"
    hostile.git("update-index", "--add", "--cacheinfo", entry)
    hostile.git("commit", "--quiet", "--message", "Add a submodule")

    with pytest.raises(InvalidRequest, match="components/api/inner is a Git repository of its own"):
        read_app(hostile.folder, ref="main")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../outside", "a/../../../../x"])
def test_a_link_that_leaves_the_app_is_refused(hostile: HostileRepository, target: str) -> None:
    (hostile.folder / "components/api/link").symlink_to(target)
    hostile.commit()

    with pytest.raises(ProblemsFound) as refused:
        read_app(hostile.folder)

    assert [found.path for found in refused.value.problems] == ["components/api/link"]


def test_a_file_below_a_link_is_not_written_through_it(
    hostile: HostileRepository, tmp_path: Path
) -> None:
    ref = _commit_with_a_file_below_a_link(hostile)

    with pytest.raises(ProblemsFound, match="its files have problems") as refused:
        read_app(hostile.folder, ref=ref)

    assert "below 'components/api/up', which is no folder" in refused.value.problems[0].message


def _commit_with_a_file_below_a_link(hostile: HostileRepository) -> str:
    """Return a commit that git itself would not write: a link and a folder of one name."""

    def tree(*entries: str) -> str:
        done = subprocess.run(
            ["git", "mktree"],
            cwd=hostile.root,
            input="".join(f"{entry}\n" for entry in entries),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    main = hostile.git("rev-parse", f"HEAD:{MAIN}")
    spec = hostile.git("rev-parse", "HEAD:app.yaml")
    (hostile.root / "target").write_text("..")
    link = hostile.git("hash-object", "-w", "target")
    inside = tree(f"100644 blob {main}\tevil.py")
    api = tree(
        f"100644 blob {main}\tmain.py", f"120000 blob {link}\tup", f"040000 tree {inside}\tup"
    )
    components = tree(f"040000 tree {api}\tapi")
    root = tree(f"100644 blob {spec}\tapp.yaml", f"040000 tree {components}\tcomponents")
    return hostile.git("commit-tree", root, "-m", "Hostile")


def test_a_setting_of_how_files_are_read_is_kept(hostile: HostileRepository) -> None:
    hostile.config("core.autocrlf", "input")
    hostile.config("core.fileMode", "false")
    hostile.write({"components/api/text.txt": b"a\nb\n"})
    hostile.commit()
    hostile.write({"components/api/text.txt": b"a\r\nb\r\n"})
    (hostile.folder / MAIN).chmod(0o755)

    dirty = read_app(hostile.folder, is_dirty=True)

    assert dirty.hashes == read_app(hostile.folder, ref="main").hashes


def test_files_that_the_user_ignores_everywhere_are_no_changes(
    hostile: HostileRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ignored").write_text("*.swp\n")
    (tmp_path / "settings").write_text(f'[core]\n\texcludesFile = "{tmp_path}/ignored"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    hostile.write({"components/api/.main.py.swp": "open in an editor"})

    assert list(read_app(hostile.folder).components) == ["api"]


@pytest.mark.parametrize("options", [("--object-format=sha256",), ("--object-format=sha1",)])
def test_repositories_of_both_object_formats_are_read(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    folder = tmp_path / "app"
    subprocess.run(["git", "init", "--quiet", *options, str(folder)], check=True)
    for name, content in app_files("shop", "api").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(content))

    assert list(read_app(folder, is_dirty=True).components) == ["api"]
