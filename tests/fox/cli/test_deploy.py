from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from fox.cli.support.connection import connect
from fox.cli.support.deployment_pods import check_restarts, wait_ready
from kubefox.deployment import Deployment
from kubefox.errors import ComponentFailed, Conflict
from kubefox.pod import PodPhase, PodStatus
from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import DYING, make
from tests.support.repository import MAIN


def test_an_app_is_deployed_in_versions_and_undeployed(
    fox: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make(tmp_path, "story")
    monkeypatch.chdir(shop.folder / "components")

    first = fox("deploy", "--version", "1.0").stdout
    shop.write({"components/api/main.py": MAIN.format(name="api-2")})
    shop.commit("v2")
    second = fox("deploy", "story-v2", "--ref", "v2").stdout
    again = fox("deploy", "story-v2", "--ref", "v2").stdout
    removed = fox("undeploy", "story-v2").stdout

    assert "2 new pods, 0 reused" in first
    assert "deployment story-1-0 is ready: 2 pods" in first
    assert "1 new pod, 1 reused" in second
    assert [line.split()[0] for line in second.splitlines()[1:3]] == ["api", "web"]
    assert "0 new pods, 2 reused" in again
    assert "1 pod no longer used" in removed
    assert "0 new pods" not in removed
    assert "deployment story-v2 is removed" in removed
    assert fox("get", "deployments", "story-v2", code=3).stderr.startswith("error: ")


def test_a_dry_run_stops_after_the_plan(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "dry")

    printed = fox("deploy", "--app", shop.folder, "--dry-run", "-o", "json").stdout

    document = json.loads(printed)
    assert [planned["step"] for planned in document["plan"]["components"]] == ["new", "new"]
    assert document["deployment"] is None
    fox("get", "dep", "dry-main", code=3)


def test_a_dry_run_names_the_code_that_it_does_not_run(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "unseen")
    canary = tmp_path / "was-run"
    shop.write({"components/api/main.py": f"open({str(canary)!r}, 'w')\nraise SystemExit\n"})
    shop.commit()

    printed = fox("deploy", "--app", shop.folder, "--dry-run").stdout
    document = fox("deploy", "--app", shop.folder, "--dry-run", "-o", "json").stdout

    assert "fox deploy would load the code of api, web\n" in printed
    assert json.loads(document)["loaded"] == ["api", "web"]
    assert not canary.exists()


def test_a_plan_names_the_images_of_components(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "imaged")
    image = "registry.example/team/api@sha256:" + "0f" * 32
    shop.write({"components/api/component.yaml": f"image: {image}"})
    shop.commit()

    printed = fox("deploy", "--app", shop.folder, "--dry-run").stdout
    document = json.loads(fox("deploy", "--app", shop.folder, "-o", "json").stdout)

    assert f"in a cluster, api runs in the image {image}\n" in printed
    assert document["images"] == {"api": image}
    # On one machine, it runs from its folder.
    assert {pod["phase"] for pod in document["pods"]} == {"ready"}


def test_a_dry_run_loads_the_code_when_asked(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "seen")
    good = fox("deploy", "--app", shop.folder, "--dry-run", "--load").stdout
    shop.write({"components/api/main.py": "import not_there\n"})
    shop.commit()

    broken = fox("deploy", "--app", shop.folder, "--dry-run", "--load", code=1).stderr
    alone = fox("deploy", "--app", shop.folder, "--load", code=2).stderr

    assert "would load" not in good
    assert "No module named 'not_there'" in broken
    assert "--load belongs to --dry-run" in alone


def test_deploy_prints_one_yaml_document(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "program")

    printed = fox("deploy", "--app", shop.folder, "-o", "yaml").stdout

    document = yaml.safe_load(printed)
    assert document["plan"]["deployment"] == "program-main"
    assert document["deployment"]["source"]["branch"] == "main"
    assert {pod["phase"] for pod in document["pods"]} == {"ready"}


def test_uncommitted_changes_are_refused_and_deployed_with_dirty(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "changed")
    shop.write({"components/api/new.py": "A = 1\n"})

    refused = fox("deploy", "--app", shop.folder, code=1).stderr
    taken = fox("deploy", "--app", shop.folder, "--dirty", "--no-wait").stdout

    assert "components/api/new.py" in refused
    assert "deployment changed-main is stored" in taken
    assert "dirty" in fox("get", "deployment", "changed-main").stdout


def test_a_versioned_deployment_cannot_change(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "fixed")
    arguments = ("deploy", "fixed-v1", "--app", shop.folder, "--version", "1", "--no-wait")
    fox(*arguments)
    shop.write({"components/api/new.py": "A = 1\n"})
    shop.commit()

    for more in ((), ("--dry-run",)):
        refused = fox(*arguments, *more, code=1)
        assert "fixed-v1 has version 1 and cannot change" in refused.stderr
        assert refused.stdout == ""


def test_two_branches_with_the_same_clean_name_collide(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "branches")
    shop.git("checkout", "--quiet", "-b", "fix/a")
    fox("deploy", "--app", shop.folder, "--no-wait")
    shop.git("checkout", "--quiet", "-b", "fix-a")

    printed = fox("deploy", "--app", shop.folder, code=1).stderr

    assert "'fix-a' and 'fix/a'" in printed
    fox("deploy", "--app", shop.folder, "--ref", "fix/a", "--no-wait")


def test_problems_of_the_graph_end_with_4(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "graph")
    shop.git("rm", "-r", "--quiet", "components/api")
    shop.commit()

    printed = fox("deploy", "--app", shop.folder, code=4).stderr

    assert "PROBLEM" in printed
    assert "components.web" in printed


def test_problems_of_the_folder_end_with_4(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "folder")
    shop.write({"app.yaml": "name: folder\nmodule: {}\n"})
    shop.commit()

    assert "unknown field `module`" in fox("deploy", "--app", shop.folder, code=4).stderr


def test_a_file_name_that_is_not_allowed_in_a_bundle_ends_with_4_before_the_plan(
    fox: Cli, tmp_path: Path
) -> None:
    shop = make(tmp_path, "named")
    shop.write({"components/api/a\nb.py": ""})
    shop.commit()

    dry = fox("deploy", "--app", shop.folder, "--dry-run", code=4)
    wet = fox("deploy", "--app", shop.folder, code=4)

    assert dry.output == wet.output
    assert r"components/api/a\nb.py" in wet.stderr
    assert wet.stdout == ""


def test_the_traceback_of_code_that_cannot_be_loaded_is_shown(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "broken")
    shop.write({"components/api/main.py": "import not_there\n"})
    shop.commit()

    printed = fox("deploy", "--app", shop.folder, code=1).stderr

    assert "component api: its code cannot be loaded" in printed
    assert "No module named 'not_there'" in printed


def test_a_pod_that_does_not_become_ready_is_reported(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "dying")
    shop.write({"components/api/main.py": DYING})
    shop.commit()
    arguments = ("deploy", "--app", shop.folder)

    hasty = fox(*arguments, "--timeout", "0", code=1).stderr
    patient = fox(*arguments, code=1).stderr
    fox("undeploy", "dying-main")

    prefix = "error: dying-main is deployed, but not ready: "
    assert hasty.startswith(f"{prefix}starting the pods of dying-main took longer than 0 s")
    assert patient.startswith(prefix)
    reason = "exited with code 1: component api cannot be loaded: kubefox.errors.InvalidRequest: "
    assert f"keeps ending: {reason}" in patient
    assert "fox logs api" in patient


def test_a_pod_that_keeps_ending_fails_only_a_component_without_a_ready_pod() -> None:
    dying = PodStatus(
        id="api-1",
        app="shop",
        component="api",
        hash="a" * 32,
        phase=PodPhase.BACK_OFF,
        runner="here",
        restarts=7,
        message="killed by SIGKILL",
    )

    check_restarts([dying], {"web"})
    check_restarts([msgspec.structs.replace(dying, restarts=1)], {"api", "web"})
    with pytest.raises(ComponentFailed, match="pod api-1 keeps ending: killed by SIGKILL"):
        check_restarts([dying], {"api"})


def test_waiting_ends_when_the_deployment_is_replaced_or_removed(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    shop = make(tmp_path, "raced")
    shop.write({"components/api/main.py": DYING})
    arguments = ("deploy", "--app", shop.folder, "--dirty", "--no-wait", "-o", "json")
    first = msgspec.convert(json.loads(fox(*arguments).stdout)["deployment"], Deployment)
    shop.write({"components/api/main.py": MAIN.format(name="api")})
    fox("deploy", "--app", shop.folder, "--dirty")
    control = connect(None, platform)

    with pytest.raises(Conflict, match="raced-main was replaced while"):
        wait_ready(control, first, timeout_s=30)
    fox("undeploy", "raced-main")
    with pytest.raises(Conflict, match="raced-main was removed"):
        wait_ready(control, first, timeout_s=30)


def test_an_app_folder_must_hold_an_app(fox: Cli, tmp_path: Path) -> None:
    assert "set --app DIR to the folder" in fox("deploy", "--app", tmp_path, code=3).stderr
    assert "--app DIR" in fox("deploy", code=3).stderr


def test_undeploy_says_when_all_pods_are_still_used(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "twice")
    fox("deploy", "twice-v1", "--app", shop.folder, "--no-wait")
    fox("deploy", "twice-v2", "--app", shop.folder, "--no-wait")

    shared = fox("undeploy", "twice-v1").stdout
    alone = fox("undeploy", "twice-v2").stdout

    assert shared == "all pods are still used\ndeployment twice-v1 is removed\n"
    assert "2 pods no longer used\n" in alone


def test_undeploying_an_unknown_deployment_ends_with_3(fox: Cli) -> None:
    assert "nope" in fox("undeploy", "nope", code=3).stderr
