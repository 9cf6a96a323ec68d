"""`fox get` of long lists: pages, formats, filters, and a reader that leaves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fox.cli.support import pages
from fox.cli.support.kinds import AUDIT_RECORDS, DEAD_LETTERS, ENVIRONMENTS, KINDS, Kind
from fox.cli.support.list_output import ListOutput, print_list
from fox.cli.support.objects import print_records
from kubefox.errors import ContinueExpired
from tests.fox.cli.conftest import FOX, Cli

COUNT = 12
NAMES = [f"listed-{number:02}" for number in range(COUNT)]


@pytest.fixture(scope="module")
def environments(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform with some environments."""
    file = tmp_path_factory.mktemp("environments") / "all.yaml"
    head = {"apiVersion": "kubefox.xigxog.io/v1alpha1", "kind": "Environment"}
    kinds = [{**head, "metadata": {"name": name}} for name in NAMES]
    file.write_text(yaml.safe_dump_all(kinds))
    Cli({"FOX_DATA_DIR": str(platform)})("apply", "-f", file)
    return platform


@pytest.fixture
def listing(fox: Cli, environments: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands for this platform, with pages of five objects."""
    monkeypatch.setattr(pages, "PAGE_OBJECTS", 5)
    return fox


def names_in(documents: list[Any]) -> list[str]:
    return [document["object"]["name"] for document in documents]


def test_every_format_has_each_object_of_all_pages_once(listing: Cli) -> None:
    get = ("get", "env", "--prefix", "listed-")

    table = listing(*get).stdout.splitlines()
    wide = listing(*get, "-o", "wide").stdout.splitlines()
    names = listing(*get, "-o", "name").stdout.splitlines()
    as_json = json.loads(listing(*get, "-o", "json").stdout)
    as_yaml = yaml.safe_load(listing(*get, "-o", "yaml").stdout)

    assert table[0].split() == list(ENVIRONMENTS.columns)
    assert [line.split()[0] for line in table[1:]] == NAMES
    assert wide == table
    assert names == NAMES
    assert names_in(as_json) == names_in(as_yaml) == NAMES


def test_a_list_is_limited_and_sorted(listing: Cli) -> None:
    def get(*options: str) -> list[str]:
        arguments = ("get", "env", "--prefix", "listed-", "-o", "name", *options)
        return listing(*arguments).stdout.splitlines()

    assert get("--limit", "7") == NAMES[:7]
    assert get("--sort", "-name", "--limit", "1") == NAMES[-1:]
    assert get("--sort=-name") == NAMES[::-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["env", "--runner", "x"], "--runner is not for environments: expected --sort, --prefix"),
        (["env", "listed-00", "--limit", "3"], "NAME shows one object"),
        (["env", "--limit", "0"], "0 is not in the range"),
    ],
)
def test_wrong_options_of_lists_are_reported(
    fox_alone: Cli, arguments: list[str], said: str
) -> None:
    result = fox_alone("get", *arguments, code=2)

    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_a_sort_that_a_kind_does_not_have_is_reported(fox: Cli) -> None:
    said = fox("get", "env", "--sort", "size", code=1).stderr

    assert said.startswith("error: environments cannot be sorted by 'size': expected name")


def test_one_object_has_the_same_formats(listing: Cli) -> None:
    assert listing("get", "env", "listed-03", "-o", "name").stdout == "listed-03\n"
    assert listing("get", "env", "listed-03", "-o", "wide").stdout.split()[4:6] == [
        "SELECTION",
        "listed-03",
    ]


def test_an_empty_list_is_valid_for_programs(fox: Cli) -> None:
    get = ("get", "env", "--prefix", "nothing-begins-with-this")

    assert json.loads(fox(*get, "-o", "json").stdout) == []
    assert yaml.safe_load(fox(*get, "-o", "yaml").stdout) == []
    assert fox(*get).stderr == "no environments\n"


def test_the_table_of_pages_is_that_of_a_short_list(capsys: pytest.CaptureFixture[str]) -> None:
    documents = [
        {"name": f"środa-{number}", "data": {"vars": {"name": 1, "b": 2}, "secrets": {}}}
        for number in range(4)
    ]
    print_records(ENVIRONMENTS, ENVIRONMENTS.records(documents))
    expected = capsys.readouterr().out

    print_list(ENVIRONMENTS, [documents[:2], documents[2:]], ListOutput.TABLE)

    assert capsys.readouterr().out == expected


class _TwoPages:
    """Stands for a control API; notes what was printed when the second page was asked for."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.printed = ""

    def get(self, *_path: str, **query: Any) -> Any:
        name = "second" if query["continue"] else "first"
        if name == "second":
            self.printed = self._capsys.readouterr().out
        data: dict[str, Any] = {"vars": {}, "secrets": {}}
        items = [{"name": f"{name}-{number}", "data": data} for number in range(500)]
        return {"items": items, "continue": "" if query["continue"] else "token"}


@pytest.mark.parametrize("output", ListOutput)
def test_each_page_is_printed_before_the_next_one_is_asked_for(
    capsys: pytest.CaptureFixture[str], output: ListOutput
) -> None:
    control = _TwoPages(capsys)

    print_list(ENVIRONMENTS, pages.pages(control, "environments"), output)  # type: ignore[arg-type]

    assert "first-499" in control.printed
    assert "second-499" in capsys.readouterr().out


class _ChangingList:
    """Stands for a control API that does not keep the revision of the first page."""

    def __init__(self) -> None:
        self.tokens: list[str | None] = []

    def get(self, *_path: str, **query: Any) -> Any:
        token = query["continue"]
        self.tokens.append(token)
        if token == "second":
            raise ContinueExpired("gone", restart="rest")
        following = {None: "second", "rest": ""}[token]
        return {"items": [token or "first"], "continue": following}


def test_the_rest_of_a_list_that_expired_is_read_at_a_newer_revision(
    capsys: pytest.CaptureFixture[str],
) -> None:
    control = _ChangingList()

    found = list(pages.documents(control, "deployments"))  # type: ignore[arg-type]

    assert found == ["first", "rest"]
    assert control.tokens == [None, "second", "rest"]
    assert "the rest shows a newer revision" in capsys.readouterr().err


def test_a_reader_that_leaves_after_the_first_lines_is_no_error(environments: Path) -> None:
    fox = " ".join(FOX)
    program = f"{fox} get env --prefix listed- --data-dir {environments} | head -n 2"

    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, executable="/bin/bash"
    )

    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        ("deployments", "ready, starting, rolling, failed"),
        ("pods", "starting, ready, back-off, stopping, unknown"),
        ("releases", "active, pending"),
    ],
)
def test_an_unknown_state_is_refused_with_the_states_of_the_kind(
    listing: Cli, kind: str, states: str
) -> None:
    refused = listing("get", kind, "--state", "nope", code=2)

    message = " ".join(refused.stderr.split())
    assert f"--state: 'nope' is no state of {kind}: expected one of {states}" in message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)
def test_each_listed_state_is_accepted_by_the_control_api(listing: Cli, kind: Kind) -> None:
    for state in kind.states:
        listing("get", kind.path, "--state", state)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)
def test_an_unknown_object_is_reported_in_the_same_words_for_each_kind(
    listing: Cli, kind: Kind
) -> None:
    name = "404" if kind in {DEAD_LETTERS, AUDIT_RECORDS} else "nope"

    refused = listing("get", kind.path, name, code=3)

    assert refused.stderr.endswith(f"{name} does not exist\n")
