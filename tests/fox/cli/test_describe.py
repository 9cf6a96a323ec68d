"""fox describe: times for people, and Unix times for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from fox.cli.commands.describe import _readable
from fox.cli.support.control_client import ControlClient
from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import make


def test_times_are_shown_as_iso_text_in_utc_and_as_numbers_in_json(
    fox: Cli, tmp_path: Path
) -> None:
    shop = make(tmp_path, "described")
    fox("deploy", "described-v1", "--app", shop.folder, "--ref", "v1", "--no-wait")

    text = fox("describe", "deployment", "described-v1").stdout
    document = json.loads(fox("describe", "deployment", "described-v1", "-o", "json").stdout)

    created_at_s = document["object"]["created_at_s"]
    shown = yaml.safe_load(text.partition("\n\n")[0])
    created_at = datetime.fromisoformat(shown["created_at"])
    assert created_at == datetime.fromtimestamp(created_at_s, UTC).replace(microsecond=0)
    assert "created_at_s" not in shown


def test_a_deployment_is_described_without_reading_other_objects(
    fox: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make(tmp_path, "alone")
    fox("apply", "-f", shop.folder / "environments.yaml")
    for name in ("alone-v1", "alone-other"):
        fox("deploy", name, "--app", shop.folder, "--ref", "v1")
    fox("release", "alone-v1", "--virtual-env", "alone")
    read: dict[str, int] = {}
    get = ControlClient.get

    def counted(control: ControlClient, *path: str, **query: object) -> Any:
        answer = get(control, *path, **query)
        kind = path[1]
        read[kind] = read.get(kind, 0) + len(answer.get("items", [answer]))
        return answer

    monkeypatch.setattr(ControlClient, "get", counted)
    described = json.loads(fox("describe", "deployment", "alone-v1", "-o", "json").stdout)

    assert read == {"deployments": 1, "pods": 2, "idle-versions": 0, "releases": 1}
    assert len(described["pods"]) == 2
    assert [state["virtual_environment"] for state in described["releases"]] == ["alone"]


@pytest.mark.parametrize("sequence", [list, tuple])
def test_times_within_sequences_are_shown_as_iso_text_and_durations_are_kept(
    sequence: type[list[Any]] | type[tuple[Any, ...]],
) -> None:
    record = {"history": sequence([{"archived_at_s": 0.5, "deadline_s": 300, "problems": []}])}

    assert _readable(record) == {
        "history": [{"archived_at": "1970-01-01T00:00:00Z", "deadline_s": 300}]
    }
