from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError

import pytest

from fox.cli.support.connection import connect
from fox.cli.support.output import Output
from fox.cli.support.release_outcome import show_outcome
from kubefox.errors import Conflict
from tests.fox.cli.conftest import Cli, visit
from tests.fox.cli.shop import DYING, make
from tests.support.repository import Repository


def deployed(fox: Cli, root: Path, name: str) -> Repository:
    """Return an app that is deployed as ``<name>-v1``, with its environments."""
    shop = make(root, name)
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", f"{name}-v1", "--app", shop.folder, "--ref", "v1")
    return shop


def test_a_release_routes_plain_urls_to_its_deployment(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    deployed(fox, tmp_path, "plain")

    printed = fox("release", "v1", "--virtual-env", "plain", "--app", "plain").stdout

    assert printed == "plain URLs of plain in plain are routed to plain-v1\n"
    assert visit(platform, "/plain/plain/Ada") == "Moin Ada"


def test_a_rollback_restores_the_release_before(fox: Cli, tmp_path: Path) -> None:
    shop = deployed(fox, tmp_path, "back")
    fox("release", "back-v1", "--virtual-env", "back")
    fox("deploy", "back-v2", "--app", shop.folder, "--version", "2")
    fox("release", "2", "--virtual-env", "back")

    printed = fox("rollback", "--virtual-env", "back").stdout
    listed = fox("get", "releases", "back").stdout
    state = json.loads(fox("get", "release", "back", "-o", "json").stdout)["object"]

    assert printed == "plain URLs of back in back are routed to back-v1\n"
    assert [line.split()[1] for line in listed.splitlines()[1:]] == ["active"] + ["archived"] * 2
    fox("rollback", "--virtual-env", "back", "--to", state["history"][0]["id"])
    assert "back-v2" in fox("describe", "ve", "back").stdout
    fox("rollback", "--virtual-env", "back", "--to", "nope", code=3)


def test_a_released_deployment_is_removed_only_after_it_is_withdrawn(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    deployed(fox, tmp_path, "kept")
    fox("release", "kept-v1", "--virtual-env", "kept")

    refused = fox("undeploy", "kept-v1", code=1).stderr
    withdrawn = fox("release", "--none", "--virtual-env", "kept").stdout

    assert "is released in virtual environment kept" in refused
    assert "`fox release --none`" in refused
    assert withdrawn == "nothing is released in kept\n"
    with pytest.raises(HTTPError, match="404"):
        visit(platform, "/kept/kept/Ada")
    fox("undeploy", "kept-v1")


def test_values_that_a_release_needs_are_removed_by_force_only(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    shop = deployed(fox, tmp_path, "forced")
    fox("release", "v1", "--virtual-env", "forced", "--app", "forced")
    file = shop.folder / "environments.yaml"
    file.write_text(file.read_text().replace("subPath: forced, ", ""))

    refused = fox("apply", "-f", file, code=4)
    kept = visit(platform, "/forced/forced/Ada")
    written = fox("apply", "-f", file, "--force").stdout

    assert "would break active releases" in refused.stderr
    assert kept == "Moin Ada"
    assert "configured" in written
    fox("explain", "/forced/forced/Ada", code=3)


@pytest.mark.parametrize("arguments", [(), ("x", "--none"), ("--none", "--app", "x")])
def test_a_release_is_of_one_deployment_or_none(fox_alone: Cli, arguments: tuple[str, ...]) -> None:
    fox_alone("release", *arguments, "--virtual-env", "x", code=2)


def test_a_refused_release_prints_a_table_of_problems(fox: Cli, tmp_path: Path) -> None:
    deployed(fox, tmp_path, "bare")
    (tmp_path / "bare.yaml").write_text(
        "apiVersion: kubefox.xigxog.io/v1alpha1\nkind: VirtualEnvironment\n"
        "metadata: {name: bare-2}\nspec: {environment: bare}\n"
    )
    fox("apply", "-f", tmp_path / "bare.yaml")

    printed = fox("release", "bare-v1", "--virtual-env", "bare-2", code=4).stderr

    assert "PROBLEM" in printed
    assert "subPath" in printed


def test_releasing_unknown_names_ends_with_3(fox: Cli, tmp_path: Path) -> None:
    deployed(fox, tmp_path, "known")

    fox("release", "nope", "--virtual-env", "known", code=3)
    fox("release", "known-v1", "--virtual-env", "nope", code=3)
    fox("rollback", "--virtual-env", "nope", code=3)


@pytest.fixture
def waiting(fox: Cli, tmp_path: Path) -> Repository:
    """An app whose pods never become ready, with its environments."""
    shop = make(tmp_path, "waiting")
    shop.write({"components/api/main.py": DYING})
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "waiting-v1", "--app", shop.folder, "--dirty", "--no-wait")
    return shop


def test_a_release_whose_pods_are_not_ready_in_time_is_archived(
    fox: Cli, waiting: Repository
) -> None:
    arguments = ("release", "waiting-v1", "--virtual-env", "waiting")
    environments = waiting.folder / "environments.yaml"

    pending = fox(*arguments, "--no-wait").stdout
    hasty = fox(*arguments, "--timeout", "0", code=1).stderr
    environments.write_text(environments.read_text().replace("Seconds: 30", "Seconds: 1"))
    fox("apply", "-f", environments)
    archived = fox(*arguments, code=1).stderr
    fox("undeploy", "waiting-v1")

    assert "is pending" in pending
    assert "releasing in waiting took longer than 0 s" in hasty
    assert "still pending and may become active later, see `fox get releases waiting`" in hasty
    assert "before its deadline and is archived" in archived


def test_waiting_ends_when_the_release_is_replaced_or_withdrawn(
    fox: Cli, waiting: Repository, platform: Path
) -> None:
    control = connect(None, platform)
    first = control.post("v1", "releases", "waiting", body={"selector": "waiting-v1"})
    fox("deploy", "waiting-v2", "--app", waiting.folder, "--dirty", "--no-wait")
    control.post("v1", "releases", "waiting", body={"selector": "waiting-v2"})

    with pytest.raises(Conflict, match="was replaced by a newer release"):
        show_outcome(control, first, wait_s=30, output=Output.JSON)
    second = control.post("v1", "releases", "waiting", body={"selector": "waiting-v2"})
    control.post("v1", "releases", "waiting", body={"apps": {}})
    with pytest.raises(Conflict, match="was withdrawn before"):
        show_outcome(control, second, wait_s=30, output=Output.JSON)
