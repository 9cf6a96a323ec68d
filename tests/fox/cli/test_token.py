"""fox token."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from fox.cli.support.times import show_time
from kubefox.access_token import parse_token
from tests.fox.cli.conftest import Cli


def test_a_token_can_be_created_used_listed_and_revoked(
    fox: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fox(
        "token", "create", "ci", "--role", "view", "--role", "deploy:cli-*:dev", "--ttl", "1h"
    )
    monkeypatch.setenv("FOX_TOKEN", made.stdout.strip())

    allowed = fox("get", "deployments", "-o", "json")
    refused = fox("prune", code=1)
    monkeypatch.delenv("FOX_TOKEN")
    [listed] = json.loads(fox("token", "list", "-o", "json").stdout)
    table = fox("token", "list").stdout
    revoked = fox("token", "revoke", "ci").stdout
    monkeypatch.setenv("FOX_TOKEN", made.stdout.strip())
    later = fox("get", "deployments", code=1)

    token = parse_token(made.stdout.strip())
    assert token is not None
    assert json.loads(allowed.stdout) is not None
    assert "ci needs the role admin; its roles: view, deploy:cli-*:dev" in (refused.stderr)
    assert listed["name"] == "ci"
    assert listed["id"] == token.id
    assert listed["created_by"] == "owner"
    assert token.digest not in json.dumps(listed)
    assert listed["expires_at_s"] - listed["created_at_s"] == 3_600
    assert "view deploy:cli-*:dev" in table
    assert revoked == "token ci is revoked\n"
    assert f"does not know the token {token.id}" in later.stderr


def test_a_token_can_be_written_to_a_private_file(fox: Cli, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.token"

    made = fox("token", "create", "scrape", "--role", "view", "--write", file)
    again = fox("token", "create", "scrape-2", "--role", "view", "--write", file, code=1)
    used = fox("get", "pods", "--token-file", file)
    fox("token", "revoke", "scrape")

    assert made.stdout == f"token scrape is in {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "exists: name a new file" in again.stderr
    assert used.exit_code == 0
    assert "scrape-2" not in fox("token", "list").stdout


def test_the_list_shows_when_an_expired_token_ended(fox: Cli) -> None:
    fox("token", "create", "brief", "--role", "view", "--ttl", "1ms")
    [brief] = [
        token
        for token in json.loads(fox("token", "list", "-o", "json").stdout)
        if token["name"] == "brief"
    ]

    while "(expired)" not in (table := fox("token", "list").stdout):
        pass

    assert f"{show_time(brief['expires_at_s'])} (expired)" in table
    fox("token", "revoke", "brief")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--role", "view"), "Missing argument 'NAME'"),
        (("create", "x"), "Missing option '--role'"),
        (("list", "x"), "unexpected extra argument"),
        (("revoke", "x", "--role", "view"), "No such option"),
        (("create", "x", "--role", "view", "--ttl", "soon"), "is not a time"),
    ],
)
def test_a_wrong_use_is_reported(fox: Cli, arguments: tuple[str, ...], said: str) -> None:
    assert said in fox("token", *arguments, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "x", "--role", "owner"), 1, "expected ROLE[:APPS[:VIRTUAL_ENVIRONMENTS]]"),
        (("create", "X", "--role", "view"), 1, "name 'X' is not valid"),
        (("create", "x", "--role", "view", "--ttl", "0s"), 1, "ttl_s: 0.0 is not valid"),
        (("revoke", "nobody"), 3, "token nobody does not exist"),
    ],
)
def test_a_refusal_says_what_is_wrong(
    fox: Cli, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in fox("token", *arguments, code=code).stderr


def test_two_tokens_of_one_name_are_refused(fox: Cli) -> None:
    fox("token", "create", "twice", "--role", "view")

    refused = fox("token", "create", "twice", "--role", "view", code=1)
    fox("token", "revoke", "twice")
    fox("token", "create", "twice", "--role", "view")

    assert "token twice exists: revoke it first" in refused.stderr
    fox("token", "revoke", "twice")
