"""fox share, on a real platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fox.data_dir import read_info
from tests.fox.cli.conftest import Cli, complete
from tests.fox.cli.shop import make

NAME = "shared"


@pytest.fixture(scope="module")
def shared(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Commands for the platform; deployment and virtual environment have the same name."""
    fox = Cli({"FOX_DATA_DIR": str(platform)})
    shop = make(tmp_path_factory.mktemp("shop"), NAME)
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", NAME, "--app", shop.folder, "--no-wait")
    return fox


def share(fox: Cli, *options: str) -> dict[str, Any]:
    """Share the deployment, and return the document."""
    text = fox("share", NAME, "-e", NAME, *options, "-o", "json").stdout
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_url_is_the_only_line_of_standard_output(shared: Cli, platform: Path) -> None:
    info = read_info(platform)
    assert info is not None

    done = shared("share", NAME, "-e", NAME, "--ttl", "90m", "--path", "/a/b?c=1")

    assert done.stdout.startswith(f"{info.http_url}/a/b?c=1&kf-share=")
    assert done.stdout.count("\n") == 1
    assert "fox share --revoke " in done.stderr
    assert "warning: the link works on this machine only" in done.stderr


@pytest.mark.parametrize(
    ("options", "begin"),
    [
        (("--url", "https://shop.example/x"), "https://shop.example/x?kf-share="),
        (("--url", "https://shop.example"), "https://shop.example/?kf-share="),
        (("--url", "https://shop.example/x#y", "--path", "z"), "https://shop.example/z?kf-share="),
    ],
)
def test_the_url_has_the_address_of_the_visitors(
    shared: Cli, options: tuple[str, ...], begin: str
) -> None:
    assert share(shared, *options)["url"].startswith(begin)


def explained(fox: Cli, url: str, *options: str, code: int = 0) -> dict[str, Any]:
    """Return the document that explains a URL."""
    found: dict[str, Any] = json.loads(
        fox("explain", url, *options, "-o", "json", code=code).stdout
    )
    return found


def test_the_url_of_a_share_is_explained_as_a_request_with_its_token(shared: Cli) -> None:
    made = share(shared, "--path", f"/{NAME}/{NAME}/Ada")

    found = explained(shared, made["url"])
    text = shared("explain", made["url"]).stdout
    by_header = explained(shared, f"/{NAME}/{NAME}/Ada", "-H", f"kf-share: {made['token']}")
    beside = explained(shared, f"{made['url']}&kf-ve={NAME}&kf-dep=other", code=3)

    assert found["winner"]["deployment"] == NAME
    assert (found["share"]["name"], found["share"]["fault"]) == (made["share"]["name"], "")
    assert "a browser gets a cookie" in found["share"]["effect"]
    assert made["token"] not in json.dumps(found)
    assert f"deployment {NAME} (share), virtual environment {NAME} (share)" in text
    assert f"{made['share']['name']}: {NAME} in {NAME} until " in text
    assert by_header["winner"] == found["winner"]
    assert by_header["share"]["effect"] == ""
    assert beside["share"]["fault"] == "the request selects something else"


def test_a_share_that_is_not_valid_is_explained_with_the_reason(shared: Cli) -> None:
    made = share(shared, "--host", "shop.test", "--url", "http://shop.test/")
    other_host = made["url"].replace("shop.test", "other.test")
    ended = f"/{NAME}/{NAME}/Ada?kf-share=end"

    valid = explained(shared, made["url"], code=3)
    bound = explained(shared, other_host, code=3)
    altered = explained(shared, f"{made['url']}x", code=3)
    shared("share", "--revoke", made["share"]["name"])
    revoked = shared("explain", made["url"], code=3)
    end = explained(shared, ended, code=3)

    assert (valid["share"]["fault"], valid["error"]["code"]) == ("", "route_not_found")
    assert bound["share"]["fault"] == "it is for the host shop.test only"
    assert bound["error"]["code"] == "not_found"
    assert "altered" in altered["share"]["fault"]
    assert "is not valid: it was revoked" in revoked.stdout
    assert "the share of this request is not valid here" in revoked.stderr
    assert "the cookie of the preview is removed" in end["share"]["effect"]


def test_a_share_is_bound_to_a_host(shared: Cli, platform: Path) -> None:
    info = read_info(platform)
    assert info is not None

    made = share(shared, "--host", "Shop.Test", "--ttl", "7d")

    assert made["share"]["host"] == "shop.test"
    assert made["share"]["expires_at_s"] - made["share"]["created_at_s"] == 7 * 86_400
    assert urlsplit(made["url"]).netloc == f"Shop.Test:{urlsplit(info.http_url).port}"


def test_shares_are_listed_without_their_tokens_and_revoked(shared: Cli) -> None:
    made = share(shared)
    name = made["share"]["name"]

    listed = shared("share", "--list", "-e", NAME).stdout
    assert name in listed
    assert made["token"] not in shared("share", NAME, "--list", "-o", "json").stdout
    assert name in shared("get", "shares", "--deployment", NAME, "-o", "name").stdout
    assert NAME in shared("describe", "share", name).stdout

    assert name in complete(shared, f"fox share --revoke {name[:2]}")

    shared("share", "--revoke", name)
    assert name not in shared("share", "--list").stdout
    assert f"share {name} does not exist" in shared("share", "--revoke", name, code=3).stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "name the deployment to share"),
        ((NAME,), "name the virtual environment"),
        ((NAME, "-e", NAME, "--ttl", "soon"), "expected 500ms, 30s, 10m, 2h or 7d"),
        ((NAME, "-e", NAME, "--ttl", "31d"), "expected a time from 1s to 30d"),
        ((NAME, "-e", NAME, "--ttl", "1ms"), "expected a time from 1s to 30d"),
    ],
)
def test_an_unclear_wish_is_a_usage_error(
    shared: Cli, arguments: tuple[str, ...], problem: str
) -> None:
    assert problem in shared("share", *arguments, code=2).stderr


def test_what_does_not_exist_cannot_be_shared(shared: Cli) -> None:
    shared("share", "nothing", "-e", NAME, code=3)
    shared("share", NAME, "-e", "nothing", code=3)


@pytest.mark.parametrize("url", ["ftp://shop.example", "shop.example", "http://[", "http://"])
def test_the_address_must_be_one(shared: Cli, url: str) -> None:
    refused = shared("share", NAME, "-e", NAME, "--url", url, code=1).stderr

    assert "is not valid" in refused


def test_the_policy_of_selection_is_shown(shared: Cli, tmp_path: Path) -> None:
    file = tmp_path / "live.yaml"
    file.write_text(
        "apiVersion: kubefox.xigxog.io/v1alpha1\n"
        "kind: VirtualEnvironment\n"
        "metadata: {name: shared-live}\n"
        f"spec: {{environment: {NAME}, production: true, selection: signed}}\n"
    )
    shared("apply", "-f", file)

    stored = shared("get", "ve", "shared-live", "-o", "json").stdout
    explained = shared("explain", f"/?kf-dep={NAME}&kf-ve=shared-live", code=3)
    refused = shared("share", NAME, "-e", "shared-live", code=4)

    assert "production" in shared("get", "ve", "--prefix", "shared-live").stdout
    assert '"selection": "signed"' in stored
    assert "selection" in explained.stdout
    assert "released: only released versions" in explained.stdout
    assert "only what is released can be selected" in refused.stderr
