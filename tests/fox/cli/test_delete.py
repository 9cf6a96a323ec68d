from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import ENVIRONMENTS, make


def apply(fox: Cli, root: Path, name: str) -> None:
    """Make an environment, a virtual environment and an HTTP adapter called ``name``."""
    (root / "all.yaml").write_text(ENVIRONMENTS.replace("NAME", name))
    fox("apply", "-f", root / "all.yaml")


def test_objects_that_are_not_in_use_are_deleted(fox: Cli, tmp_path: Path) -> None:
    apply(fox, tmp_path, "gone")

    printed = [fox("delete", kind, "gone").stdout for kind in ("ve", "env", "http-adapter")]

    assert printed == [
        "virtual environment gone is deleted\n",
        "environment gone is deleted\n",
        "http adapter gone is deleted\n",
    ]
    fox("get", "ve", "gone", code=3)
    fox("delete", "ve", "gone", code=3)


def test_an_environment_in_use_is_not_deleted(fox: Cli, tmp_path: Path) -> None:
    apply(fox, tmp_path, "used")

    assert "is used by virtual environment used" in fox("delete", "env", "used", code=1).stderr
    fox("get", "env", "used")


def test_force_deletes_a_virtual_environment_with_its_releases(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "freed")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "freed-v1", "--app", shop.folder)
    fox("release", "freed-v1", "--virtual-env", "freed")

    refused = fox("delete", "ve", "freed", code=1).stderr
    deleted = fox("delete", "ve", "freed", "--force", "-o", "json").stdout

    assert "use --force to delete both" in refused
    assert json.loads(deleted) == {"kind": "virtual-environments", "deleted": "freed"}
    fox("undeploy", "freed-v1")


@pytest.mark.parametrize("arguments", [("pods", "x"), ("deployment", "x"), ("env", "x", "--force")])
def test_kinds_that_delete_does_not_support_are_wrong_use(
    fox_alone: Cli, arguments: tuple[str, ...]
) -> None:
    fox_alone("delete", *arguments, code=2)


def test_deleting_a_deployment_names_the_command_that_removes_it(fox_alone: Cli) -> None:
    printed = fox_alone("delete", "deployment", "x", code=2).stderr

    assert "use `fox undeploy x`" in " ".join(printed.split())
