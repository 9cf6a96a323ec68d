from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fox.data_dir import PlatformInfo, open_data_dir
from fox.source import app as source_app
from fox.source import tree
from fox.source.app import find_app, read_app
from kubefox.bundle import pack, verify
from kubefox.digest import FileMode, content_hash
from kubefox.errors import BodyTooLarge, Conflict, InvalidRequest, NotFound, ProblemsFound
from tests.support.repository import Repository, app_files


def test_every_folder_in_components_is_a_component_with_a_hash(repository: Repository) -> None:
    repository.write({"components/README.md": "no component"})
    repository.commit()

    app = read_app(repository.folder)

    assert app.spec.name == "shop"
    assert list(app.components) == ["api", "web"]
    assert app.hashes == {name: component.hash for name, component in app.components.items()}


def test_a_component_packs_to_a_bundle_that_verifies_against_its_hash(
    repository: Repository,
) -> None:
    component = read_app(repository.folder).components["api"]

    bundle = pack(component.files, component.runtime)

    verify(bundle, component.hash)


def test_only_the_changed_component_gets_another_hash(repository: Repository) -> None:
    before = read_app(repository.folder).hashes
    repository.write({"components/api/main.py": "kit = None\n"})
    repository.commit()

    after = read_app(repository.folder).hashes

    assert after["api"] != before["api"]
    assert after["web"] == before["web"]


def test_equal_content_has_equal_hashes_in_another_repository(tmp_path: Path) -> None:
    files = app_files("shop", "api", "web")
    one, other = Repository(tmp_path / "one"), Repository(tmp_path / "other", "apps/shop")
    one.write(files)
    one.commit()
    other.write(dict(reversed(files.items())))
    other.commit("v1")

    assert read_app(one.folder).hashes == read_app(other.folder).hashes


def test_an_older_ref_is_read_with_its_own_files(repository: Repository) -> None:
    repository.git("tag", "v1")
    before = read_app(repository.folder)
    repository.git("rm", "-r", "--quiet", "components/web")
    repository.commit("v2")

    assert read_app(repository.folder, ref="v1").hashes == before.hashes
    assert list(read_app(repository.folder, ref="v2").components) == ["api"]


def test_uncommitted_changes_are_refused_with_their_names(repository: Repository) -> None:
    repository.write({"components/api/main.py": "changed", "new file.txt": "new"})
    (repository.folder / "components/web/main.py").unlink()

    with pytest.raises(Conflict) as refused:
        read_app(repository.folder)

    lines = refused.value.detail.splitlines()
    assert lines[1:4] == ["  components/api/main.py", "  components/web/main.py", "  new file.txt"]
    assert "--dirty" in lines[-1]


def test_only_the_first_uncommitted_changes_are_listed(repository: Repository) -> None:
    repository.write({f"notes/{number:02}": "" for number in range(12)})

    with pytest.raises(Conflict, match="… and 2 more"):
        read_app(repository.folder)


def test_changes_outside_the_app_and_of_ignored_files_do_not_count(tmp_path: Path) -> None:
    repository = Repository(tmp_path, "apps/shop")
    repository.write({**app_files("shop", "api"), ".gitignore": "*.log\n"})
    repository.commit()
    (tmp_path / "elsewhere").write_text("not the app's")
    repository.write({"debug.log": "ignored"})

    assert read_app(repository.folder).source.is_dirty is False


def test_the_data_folder_of_a_platform_does_not_count_as_a_change(repository: Repository) -> None:
    with open_data_dir(repository.folder / ".kubefox") as data_dir:
        data_dir.write_info(PlatformInfo(pid=1))

        assert read_app(repository.folder).source.is_dirty is False


def test_a_named_ref_ignores_the_working_tree(repository: Repository) -> None:
    repository.write({"components/api/main.py": "changed"})

    assert read_app(repository.folder, ref="main").source.branch == "main"


def test_pycache_and_ignored_files_are_never_hashed(repository: Repository) -> None:
    before = read_app(repository.folder).hashes
    repository.write({".gitignore": "*.log\n", "components/api/debug.log": "ignored"})
    repository.write({"components/api/__pycache__/main.pyc": b"\0"})
    repository.git("add", "--force", "components/api/__pycache__/main.pyc")
    repository.commit()

    assert read_app(repository.folder).hashes == before
    assert read_app(repository.folder, is_dirty=True).hashes == before


def test_modes_and_links_are_part_of_the_hash(repository: Repository) -> None:
    (repository.folder / "components/api/main.py").chmod(0o755)
    (repository.folder / "components/web/alias.py").symlink_to("main.py")
    before = read_app(repository.folder, ref="HEAD").hashes
    repository.commit()

    app = read_app(repository.folder)

    assert app.components["api"].files[0].mode is FileMode.EXECUTABLE
    assert app.components["web"].files[0].mode is FileMode.SYMLINK
    assert app.components["web"].files[0].content == b"main.py"
    assert all(app.hashes[name] != before[name] for name in before)


def test_included_files_are_part_of_each_component_that_includes_them(
    repository: Repository,
) -> None:
    repository.write(
        {
            "shared/text.py": "A = 1",
            "requirements.lock": "msgspec",
            "components/api/component.yaml": "include: [shared/, requirements.lock]",
        }
    )
    repository.commit()

    app = read_app(repository.folder)

    paths = [file.path for file in app.components["api"].files]
    assert paths == [
        "components/api/component.yaml",
        "components/api/main.py",
        "requirements.lock",
        "shared/text.py",
    ]
    assert len(app.components["web"].files) == 1


def test_the_entry_file_can_be_set(repository: Repository) -> None:
    repository.write(
        {
            "components/api/component.yaml": "runtime: {entry: start.py}",
            "components/api/start.py": "",
        }
    )
    repository.commit()

    assert read_app(repository.folder).components["api"].runtime.entry == "start.py"


IMAGE = "registry.example/team/api@sha256:" + "0f" * 32


def test_an_image_is_part_of_the_hash_and_of_the_bundle(repository: Repository) -> None:
    repository.write({"components/api/component.yaml": f"image: {IMAGE}"})
    repository.commit()

    component = read_app(repository.folder).components["api"]

    without = msgspec.structs.replace(component.runtime, image="")
    verify(pack(component.files, component.runtime), component.hash)
    assert component.runtime.image == IMAGE
    assert content_hash(component.files, without) != component.hash


@pytest.mark.parametrize("image", ["registry.example/team/api:1.0", "api", "''x"])
def test_an_image_without_a_digest_is_a_problem_of_its_field(
    repository: Repository, image: str
) -> None:
    repository.write({"components/api/component.yaml": f'image: "{image}"'})
    repository.commit()

    with pytest.raises(ProblemsFound) as found:
        read_app(repository.folder)

    (problem,) = found.value.problems
    assert (problem.type, problem.path) == ("InvalidImage", "components/api/component.yaml: image")
    assert "a tag alone may be moved" in problem.message


def test_a_component_with_an_image_needs_code_in_its_folder_too(repository: Repository) -> None:
    repository.write({"components/third/component.yaml": f"image: {IMAGE}"})
    repository.commit()

    with pytest.raises(ProblemsFound) as found:
        read_app(repository.folder)

    (problem,) = found.value.problems
    assert problem.path == "components/third/component.yaml: runtime.entry"
    assert "a component with an image has code in its folder too" in problem.message


def test_all_problems_of_an_app_are_reported_together(repository: Repository) -> None:
    repository.write(
        {
            "app.yaml": "name: My Shop\nmodules: {front: {components: [web, nope]}}",
            "components/api/component.yaml": "include: [nowhere, ../up]\nruntime: {kind: ruby}",
            "components/Bad_Name/other.py": "",
        }
    )
    (repository.folder / "components/web/out").symlink_to("/etc/passwd")
    (repository.folder / "components/web/shared").symlink_to("../../app.yaml")
    repository.commit()

    with pytest.raises(ProblemsFound) as found:
        read_app(repository.folder)

    assert [(problem.type, problem.path) for problem in found.value.problems] == [
        ("InvalidName", "app.yaml: name"),
        ("ComponentNotFound", "app.yaml: modules.front.components[1]"),
        ("InvalidName", "components/Bad_Name"),
        ("EntryNotFound", "components/Bad_Name/component.yaml: runtime.entry"),
        ("RuntimeNotFound", "components/api/component.yaml: runtime.kind"),
        ("IncludeNotFound", "components/api/component.yaml: include[0]"),
        ("IncludeNotFound", "components/api/component.yaml: include[1]"),
        ("FileNotAllowed", "components/web/out"),
        ("LinkTargetNotFound", "components/web/shared"),
    ]


@pytest.mark.parametrize(("name", "shown"), [("a\nb", r"a\nb"), ("a\tb", r"a\tb")])
def test_a_file_name_with_control_characters_is_a_problem(
    repository: Repository, name: str, shown: str
) -> None:
    repository.write({f"components/api/{name}": ""})

    with pytest.raises(ProblemsFound) as found:
        read_app(repository.folder, is_dirty=True)

    (problem,) = found.value.problems
    assert problem.path == f"components/api/{shown}"
    assert "use printable characters" in problem.message


def test_a_link_to_an_included_folder_is_allowed(repository: Repository) -> None:
    repository.write({"shared/text.py": "", "components/api/component.yaml": "include: [shared]"})
    (repository.folder / "components/api/shared").symlink_to("../../shared")
    repository.commit()

    assert len(read_app(repository.folder).components["api"].files) == 4


def test_an_app_without_components_is_a_problem(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.write({"app.yaml": "name: shop"})
    repository.commit()

    with pytest.raises(ProblemsFound) as found:
        read_app(tmp_path)

    assert found.value.problems[0].type == "NoComponents"


def test_a_submodule_in_a_component_is_refused(repository: Repository) -> None:
    inner = Repository(repository.folder / "components/api/vendored")
    inner.commit()

    with pytest.raises(InvalidRequest, match="components/api/vendored is a Git repository"):
        read_app(repository.folder, is_dirty=True)


def test_a_file_name_that_is_not_utf8_is_refused(repository: Repository) -> None:
    name = bytes(repository.folder / "components/api") + b"/\xff.py"
    Path(name.decode(errors="surrogateescape")).write_bytes(b"")

    with pytest.raises(InvalidRequest, match="is not UTF-8"):
        read_app(repository.folder, is_dirty=True)


def test_an_app_is_found_in_a_folder_above(repository: Repository) -> None:
    assert find_app(repository.folder / "components" / "api") == repository.folder


def test_find_app_fails_outside_of_an_app(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--app DIR"):
        find_app(tmp_path)


def test_an_app_that_is_not_in_the_ref_is_not_found(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    later = Repository(repository.root, "later")
    later.write(app_files("later", "one"))
    later.commit()

    with pytest.raises(NotFound, match=r"app\.yaml is not in"):
        read_app(later.folder, ref=first)


def test_a_folder_outside_of_a_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("name: shop")

    with pytest.raises(InvalidRequest, match="git init"):
        read_app(tmp_path)


def test_an_empty_ref_is_not_found(repository: Repository) -> None:
    with pytest.raises(NotFound, match="no branch, tag or commit ''"):
        read_app(repository.folder, ref="")


@pytest.mark.parametrize("is_dirty", [False, True])
def test_a_file_that_is_too_large_is_refused_with_its_path(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, *, is_dirty: bool
) -> None:
    monkeypatch.setattr(tree, "MAX_FILE_BYTES", 1000)
    repository.write({"components/api/big.bin": "x" * 1001})
    repository.commit()

    with pytest.raises(BodyTooLarge, match=r"components/api/big.bin has 1,001 bytes"):
        read_app(repository.folder, is_dirty=is_dirty)


def test_files_that_are_too_large_together_are_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 1500)
    # One content, so one object in Git, which counts for each file.
    repository.write({f"components/api/{name}.bin": "x" * 800 for name in "ab"})
    repository.commit()

    with pytest.raises(BodyTooLarge, match=r"1,500 bytes together.*from components/api/b.bin on"):
        read_app(repository.folder)


def test_components_that_are_too_large_together_are_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_app, "MAX_APP_BYTES", 1500)
    repository.write({f"components/{name}/big.bin": "x" * 1000 for name in ("api", "web")})
    repository.commit()

    with pytest.raises(BodyTooLarge, match=r"1,500 bytes together.*from 'web' on"):
        read_app(repository.folder)
