from __future__ import annotations

import pytest

from fox.source.app import read_app
from fox.source.export import export_definitions
from kubefox.component import ComponentDefinition
from kubefox.errors import ComponentFailed, DeadlineExceeded
from tests.support.repository import Repository


def export(repository: Repository, *, timeout_s: float = 30) -> dict[str, ComponentDefinition]:
    components = read_app(repository.folder, is_dirty=True).components
    return export_definitions(tuple(components.values()), timeout_s=timeout_s)


def test_the_definition_holds_what_the_code_declares(repository: Repository) -> None:
    repository.write(
        {
            "components/api/main.py": (
                "from fox import Kit\n"
                "from shared.text import RULE\n"
                "print('noise')\n"
                "kit = Kit(title='API')\n"
                "@kit.route(RULE)\n"
                "async def hello(ctx): ...\n"
            ),
            "components/api/component.yaml": "include: [shared]",
            "shared/text.py": "RULE = 'Path(`/hello`)'",
            "components/third/main.py": "from fox import Kit\nkit = Kit()\n",
        }
    )

    definitions = export(repository)

    assert list(definitions) == ["api", "third", "web"]
    assert definitions["api"].title == "API"
    assert definitions["api"].routes[0].rule == "Path(`/hello`)"
    assert definitions["web"].has_default_handler


def test_code_that_raises_is_reported_with_the_end_of_its_traceback(repository: Repository) -> None:
    repository.write({"components/web/main.py": "import nothing_of_this_name\n"})

    with pytest.raises(ComponentFailed, match="component web: its code cannot be loaded") as failed:
        export(repository)

    assert failed.value.detail.endswith("No module named 'nothing_of_this_name'")
    assert len(failed.value.detail.splitlines()) <= 9
    assert 'File "components/web/main.py", line 1' in failed.value.detail
    assert "^^^" not in failed.value.detail


def test_a_package_that_only_the_image_has_is_explained(repository: Repository) -> None:
    image = "registry.example/team/web@sha256:" + "0f" * 32
    repository.write(
        {
            "components/web/main.py": "import nothing_of_this_name\n",
            "components/web/component.yaml": f"image: {image}",
        }
    )

    with pytest.raises(ComponentFailed, match="No module named 'nothing_of_this_name'") as failed:
        export(repository)

    assert failed.value.detail.endswith("import it in the handlers")


def test_code_that_blocks_is_stopped_at_the_timeout(repository: Repository) -> None:
    repository.write({"components/web/main.py": "import signal\nsignal.pause()\n"})
    (repository.folder / "components/api/main.py").unlink()

    with pytest.raises(DeadlineExceeded, match="component web"):
        export(repository, timeout_s=0.5)


def test_code_that_exits_at_import_is_reported(repository: Repository) -> None:
    repository.write({"components/web/main.py": "import sys\nsys.exit(0)\n"})

    with pytest.raises(ComponentFailed, match="exits when it is imported"):
        export(repository)


def test_code_that_prints_endlessly_is_stopped_before_the_disk_is_full(
    repository: Repository,
) -> None:
    repository.write({"components/web/main.py": "while True:\n    print('x' * 99_999)\n"})

    with pytest.raises(ComponentFailed, match="web: its code cannot be loaded") as failed:
        export(repository)

    assert len(failed.value.detail) < 9_999


def test_a_missing_definition_is_reported(repository: Repository) -> None:
    repository.write({"components/web/main.py": "import os\nos._exit(0)\n"})

    with pytest.raises(ComponentFailed, match="its definition cannot be read"):
        export(repository)


def test_code_does_not_see_the_users_environment_variables(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOX_SECRET", "mine")
    repository.write(
        {
            "components/web/main.py": (
                "import os\n"
                "from fox import Kit\n"
                "kit = Kit(title=os.environ.get('FOX_SECRET', ''))\n"
            )
        }
    )

    assert export(repository)["web"].title == ""
