from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fox.cli.conftest import Cli, visit
from tests.support import emitting

NAME = "letters"
SOON_S = 60


@pytest.fixture
def letter(fox: Cli, platform: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The only dead letter, of a job that its worker refuses."""
    emitting.build(tmp_path / "app", NAME)
    fox("apply", "-f", tmp_path / "app" / "environments.yaml")
    fox("deploy", NAME, "--dirty", "--wait", "--app", tmp_path / "app")
    visit(platform, f"/{NAME}/refused?kf-dep={NAME}&kf-ve={NAME}&signals={tmp_path}")
    (found,) = wait_listed(fox)
    yield found
    for dead_letter in listed(fox):
        fox("delete", "dead-letter", dead_letter["id"])
    fox("undeploy", NAME)


def listed(fox: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fox("get", "dead-letters", "-o", "json").stdout)
    return found


def wait_listed(fox: Cli) -> list[dict[str, Any]]:
    until_s = time.monotonic() + SOON_S
    while not (found := listed(fox)):
        assert time.monotonic() < until_s, "there is no dead letter"
        time.sleep(0.02)
    return found


def test_a_dead_letter_is_listed_and_described(fox: Cli, letter: dict[str, Any]) -> None:
    table = fox("get", "dl").stdout
    described = yaml.safe_load(fox("describe", "dead-letter", letter["id"]).stdout)
    as_yaml = yaml.safe_load(fox("get", "dead-letters", "-o", "yaml").stdout)

    assert table.splitlines()[0].split()[:3] == ["ID", "APP", "FOR"]
    assert f"worker@{letter['hash'][:12]}" in table
    assert "POST /jobs" in table
    assert "responded with status 404" in table
    assert described["body"].startswith('{"name":"refused"')
    assert described["code"] == "refused"
    assert described["virtual_environment"] == NAME
    assert as_yaml == [letter]
    assert letter["body"] == ""


def test_the_attempts_of_a_redelivered_dead_letter_are_added(
    fox: Cli, letter: dict[str, Any]
) -> None:
    printed = fox("redeliver", letter["id"]).stdout

    (again,) = wait_listed(fox)
    assert printed == f"dead letter {letter['id']} is delivered again\n"
    assert int(again["id"]) > int(letter["id"])
    assert (letter["attempts"], again["attempts"]) == (1, 2)
    fox("redeliver", letter["id"], code=3)


def test_a_dead_letter_is_deleted(fox: Cli, letter: dict[str, Any]) -> None:
    printed = fox("delete", "dead-letter", letter["id"]).stdout

    assert printed == f"dead letter {letter['id']} is deleted\n"
    assert "no dead letters" in fox("get", "dead-letters").stderr
    fox("describe", "dead-letter", letter["id"], code=3)
    fox("delete", "dead-letter", letter["id"], code=3)
