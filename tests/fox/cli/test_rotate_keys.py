"""fox rotate-keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fox.data_dir import KEY_FILE
from tests.fox.cli.conftest import Cli


def keys(fox: Cli) -> list[dict[str, Any]]:
    """Return the platform's keys."""
    listed: list[dict[str, Any]] = json.loads(fox("rotate-keys", "--list", "-o", "json").stdout)[
        "keys"
    ]
    return listed


def states(listed: list[dict[str, Any]], kind: str) -> list[str]:
    return [key["state"] for key in listed if key["kind"] == kind]


def test_the_sealing_key_is_replaced_and_the_earlier_one_kept(fox: Cli) -> None:
    before = keys(fox)

    printed = fox("rotate-keys").stdout

    after = keys(fox)
    assert printed.startswith("KIND")
    assert printed.endswith("replaced: sealing\n")
    assert states(after, "sealing")[-2:] == ["replaced", "current"]
    assert [key["id"] for key in after if key["kind"] == "data"] == [
        key["id"] for key in before if key["kind"] == "data"
    ]


def test_all_keys_are_replaced_and_none_is_shown(fox: Cli, platform: Path) -> None:
    before = (platform / KEY_FILE).read_text()

    done = json.loads(fox("rotate-keys", "--all", "-o", "json").stdout)

    lines = (platform / KEY_FILE).read_text().splitlines()
    assert done["replaced"] == ["sealing", "data", "key-encryption"]
    assert states(done["keys"]["keys"], "data") == ["current"]
    assert not done["keys"]["is_resealing"]
    assert lines[-1] not in before
    assert len(lines) == 2  # a comment and the key
    assert lines[-1] not in json.dumps(done)


def test_the_list_has_a_row_for_each_kind_of_key(fox: Cli) -> None:
    listed = keys(fox)
    rows = [line.split()[:3] for line in fox("rotate-keys", "--list").stdout.splitlines()]

    [current] = [key["wrapped_by"] for key in listed if key["kind"] == "data"]
    assert {key["kind"] for key in listed} == {"sealing", "data", "key-encryption"}
    assert ["key-encryption", current, "current"] in rows


def test_old_keys_can_be_dropped_at_once(fox: Cli) -> None:
    fox("rotate-keys")

    fox("rotate-keys", "--drop-old")

    assert states(keys(fox), "sealing") == ["current"]


def test_list_replaces_nothing(fox: Cli) -> None:
    refused = fox("rotate-keys", "--list", "--all", code=2)

    assert "--list replaces no key" in refused.stderr
