import stat
from pathlib import Path

from pods.work_folders import WorkFolders
from tests.pods.folders import names


async def test_a_pod_gets_an_empty_folder_of_its_own(tmp_path: Path) -> None:
    folders = WorkFolders(tmp_path / "work")

    one, two = await folders.make("one"), await folders.make("two")

    assert one != two
    assert not list(one.iterdir())
    assert stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE(one.parent.stat().st_mode) == 0o700


async def test_what_an_earlier_process_has_left_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "one" / "old").mkdir(parents=True)

    folder = await WorkFolders(tmp_path).make("one")

    assert names(folder) == set()


async def test_a_link_that_was_left_is_removed_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").touch()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "one").symlink_to(tmp_path / "target")

    folder = await WorkFolders(tmp_path / "work").make("one")

    assert names(folder) == set()
    assert not folder.is_symlink()
    assert names(tmp_path / "target") == {"kept"}


async def test_a_folder_is_removed_with_everything_in_it(tmp_path: Path) -> None:
    folders = WorkFolders(tmp_path)
    folder = await folders.make("one")
    (folder / "locked" / "below").mkdir(parents=True)
    (folder / "link").symlink_to("/etc")
    (folder / "locked").chmod(0o500)

    await folders.remove("one")
    await folders.remove("one")

    assert names(tmp_path) == set()
    assert Path("/etc/passwd").exists()


async def test_folders_of_pods_that_do_not_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    folders = WorkFolders(tmp_path)
    await folders.make("running")

    await folders.remove_unused()

    assert names(tmp_path) == {"running"}
