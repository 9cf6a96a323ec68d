"""``fox deploy`` of a changed deployment, ``fox history``, ``fox undo`` and ``fox abort``."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.fox.cli.conftest import Cli, complete
from tests.fox.cli.shop import DYING, NEVER_READY, make
from tests.support.repository import MAIN, Repository


def change(shop: Repository, text: str) -> None:
    shop.write({"components/api/main.py": text})
    shop.commit()


def deploy(fox: Cli, shop: Repository, *more: str, code: int = 0) -> str:
    return fox("deploy", "--app", shop.folder, *more, code=code).output


def row(table: str, first: str) -> list[str]:
    (found,) = [line.split() for line in table.splitlines() if line.split()[:1] == [first]]
    return found


def test_a_changed_deployment_has_a_new_generation_and_can_be_undone(
    fox: Cli, tmp_path: Path
) -> None:
    shop = make(tmp_path, "turning")
    deploy(fox, shop)
    change(shop, MAIN.format(name="api-2"))

    changed = deploy(fox, shop)
    history = fox("history", "turning-main").stdout
    undone = fox("undo", "turning-main").stdout
    offered = complete(fox, "fox undo turning-main --to 2")
    again = fox("undo", "turning-main", "--to", "2", "-o", "json").stdout
    generations = json.loads(fox("history", "turning-main", "-o", "json").stdout)

    assert "deployment turning-main is ready: 2 pods" in changed
    assert row(history, "2")[1] == "current"
    assert row(history, "2")[-1] == "~api"
    assert row(history, "1")[1] == "earlier"
    assert "deployment turning-main is at generation 3 (main " in undone
    assert (json.loads(again)["generation"], json.loads(again)["state"]) == (4, "ready")
    assert offered == ["2"]
    assert generations["current"]["generation"] == 4
    assert [earlier["generation"] for earlier in generations["earlier"]] == [3, 2, 1]
    assert fox("undo", "turning-main", "--to", "9", code=3).stderr == (
        "error: deployment turning-main has no generation 9 to restore: expected one of 3, 2, 1\n"
    )


def test_a_change_whose_pods_die_at_start_ends_with_1_and_changes_nothing(
    fox: Cli, tmp_path: Path
) -> None:
    shop = make(tmp_path, "staying")
    deploy(fox, shop)
    change(shop, DYING)

    said = deploy(fox, shop, code=1)

    assert "the rollout of staying-main to generation 2 failed" in said
    assert "staying-main stays at generation 1" in said
    assert "died 3 times before it was ready: exited with code 1" in said
    assert "see `fox logs api`" in said
    assert "exits when it is imported" in fox("logs", "api").stdout
    assert row(fox("get", "deployments").stdout, "staying-main")[3] == "failed"
    assert row(fox("history", "staying-main").stdout, "2")[1] == "failed"
    described = json.loads(fox("describe", "deployment", "staying-main", "-o", "json").stdout)
    assert described["object"]["state"] == "failed"
    assert described["object"]["rollout"]["problems"][0]["type"] == "PodFailed"
    assert {pod["phase"] for pod in described["pods"]} == {"ready"}


def test_a_change_that_cannot_be_imported_leaves_no_generation(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "refused")
    deploy(fox, shop)
    before = fox("history", "refused-main", "-o", "json").stdout
    change(shop, "import missing_package")

    said = deploy(fox, shop, code=1)

    assert "component api: its code cannot be loaded" in said
    assert fox("history", "refused-main", "-o", "json").stdout == before


def wait_pods(fox: Cli, deployment: str, count: int) -> list[str]:
    """Return the components of the pods of a deployment once there are ``count``."""
    while True:
        described = json.loads(fox("describe", "dep", deployment, "-o", "json").stdout)
        components = [pod["component"] for pod in described["pods"]]
        if len(components) >= count:
            return components
        time.sleep(0.02)


def test_a_rollout_is_shown_and_aborted(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "aborted")
    deploy(fox, shop)
    change(shop, NEVER_READY)

    begun = deploy(fox, shop, "--no-wait")
    hasty = deploy(fox, shop, "--timeout", "0", code=1)
    listed = json.loads(fox("get", "deployments", "aborted-main", "-o", "json").stdout)
    pods = wait_pods(fox, "aborted-main", 3)
    aborted = fox("abort", "aborted-main").stdout

    assert "deployment aborted-main is rolling out to generation 2, see `fox get dep" in begun
    assert "rolling aborted-main out to generation 2 took longer than 0 s" in hasty
    assert "the rollout goes on and may become ready later" in hasty
    assert (listed["state"], listed["object"]["generation"]) == ("rolling", 1)
    assert sorted(pods) == ["api", "api", "web"]
    assert "the rollout of aborted-main to generation 2 is dropped" in aborted
    assert "deployment aborted-main is at generation 1" in aborted
    assert row(fox("history", "aborted-main").stdout, "2")[1] == "aborted"
    assert "no rollout that is rolling" in fox("abort", "aborted-main", code=3).stderr


def test_a_rollout_fails_at_its_deadline(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "late")
    deploy(fox, shop)
    change(shop, NEVER_READY)

    said = deploy(fox, shop, "--deadline", "0.5", code=1)

    assert "failed, late-main stays at generation 1: no pod of api@" in said
    assert "fox logs api" in said


def test_a_pending_release_is_aborted(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "unreleased")
    fox("apply", "-f", shop.folder / "environments.yaml")
    deploy(fox, shop)
    fox("release", "unreleased-main", "--virtual-env", "unreleased")
    change(shop, NEVER_READY)
    for drop in ("abort", "rollback"):
        name = f"unreleased-{drop}"
        fox("deploy", name, "--app", shop.folder, "--no-wait")
        fox("release", name, "--virtual-env", "unreleased", "--no-wait")

        dropped = fox(drop, "--virtual-env", "unreleased").stdout

        assert f"the pending release of {name} in unreleased is dropped" in dropped
        assert "are routed to unreleased-main" in dropped
        assert "Aborted" in fox("get", "releases", "unreleased").stdout
    assert "no pending release" in fox("abort", "--virtual-env", "unreleased", code=3).stderr


def test_abort_needs_one_thing_to_abort(fox: Cli) -> None:
    for arguments in ((), ("name", "--virtual-env", "name")):
        assert "either the NAME" in fox("abort", *arguments, code=2).stderr
