from __future__ import annotations

import json
from pathlib import Path

from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import make


def deploy(fox: Cli, root: Path, name: str) -> None:
    shop = make(root, name)
    fox("deploy", f"{name}-v1", "--app", shop.folder, "--ref", "v1")


def test_scale_starts_pods_and_shows_them(fox: Cli, tmp_path: Path) -> None:
    deploy(fox, tmp_path, "two")

    printed = fox("scale", "two-v1/api", "--min", "2", "--target", "7.5").stdout
    (row,) = json.loads(fox("scale", "two-v1/api", "-o", "json").stdout)

    header, line = printed.splitlines()
    assert header.split() == [
        *("APP", "COMPONENT", "HASH", "READY", "MIN", "MAX", "TARGET", "CONCURRENCY", "OVERRIDES")
    ]
    assert line.split()[:2] == ["two", "api"]
    assert line.split()[4:8] == ["2", "2", "7.5", "default"]
    assert line.endswith("two-v1: min=2 target=7.5")
    assert row["limits"] == {"min": 2, "max": 2, "target_in_flight": 7.5}
    assert row["overrides"] == [
        {
            "app": "two",
            "component": "api",
            "deployment": "two-v1",
            "scale": {"min": 2, "target_in_flight": 7.5},
        }
    ]


def test_reset_restores_the_limits_of_the_code(fox: Cli, tmp_path: Path) -> None:
    deploy(fox, tmp_path, "reset")
    fox("scale", "reset-v1/api", "--min", "2")

    fox("scale", "reset-v1/api", "--reset")

    (row,) = json.loads(fox("scale", "reset-v1/api", "-o", "json").stdout)
    assert row["limits"] == {"min": 0, "max": 1, "target_in_flight": 20}
    assert row["overrides"] == []


def test_without_a_component_all_are_shown(fox: Cli, tmp_path: Path) -> None:
    deploy(fox, tmp_path, "every")

    rows = json.loads(fox("scale", "-o", "json").stdout)

    shown = {row["component"] for row in rows if row["app"] == "every"}
    assert shown == {"api", "web"}


def test_impossible_limits_and_unknown_names_are_refused(fox: Cli, tmp_path: Path) -> None:
    deploy(fox, tmp_path, "wrong")

    assert "min is 3" in fox("scale", "wrong-v1/api", "--min", "3", "--max", "2", code=1).stderr
    for target in ("0", "inf"):
        printed = fox("scale", "wrong-v1/api", "--target", target, code=2).stderr
        assert "--target" in printed
        assert f"{target} is not valid: expected a number above 0" in " ".join(printed.split())
    assert "has no component db" in fox("scale", "wrong-v1/db", "--min", "1", code=3).stderr
    assert "has no component db" in fox("scale", "wrong-v1/db", code=3).stderr
    assert "name the component" in fox("scale", "--min", "1", code=2).stderr
    assert "wrong-v0 does not exist" in fox("scale", "wrong-v0/api", "--min", "1", code=3).stderr
