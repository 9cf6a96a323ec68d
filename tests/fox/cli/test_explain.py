"""fox explain, and conflicts of routes, on a real platform."""

from __future__ import annotations

import http.client
import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from examples.demo.platform import credentials
from fox.data_dir import PlatformInfo, read_info
from tests.fox.cli.conftest import Cli, visit
from tests.fox.cli.shop import make

TWIN = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {{name: {app}-twin}}
spec: {{environment: {app}}}
data: {{vars: {{subPath: {sub_path}}}}}
"""


@pytest.fixture
def info(platform: Path) -> PlatformInfo:
    found = read_info(platform)
    assert found is not None
    return found


def released(fox: Cli, root: Path, app: str) -> None:
    """Deploy an app and release it in the virtual environment of its name."""
    shop = make(root, app)
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", f"{app}-v1", "--app", shop.folder, "--ref", "v1")
    fox("release", f"{app}-v1", "--virtual-env", app)


def apply_twin(fox: Cli, root: Path, app: str, sub_path: str) -> None:
    """Apply a second virtual environment for an app, with the given subPath."""
    file = root / "twin.yaml"
    file.write_text(TWIN.format(app=app, sub_path=sub_path))
    fox("apply", "-f", file)


def by_header(info: PlatformInfo, target: str) -> Any:
    """Return the HTTP adapter's explanation of a request."""
    connection = http.client.HTTPConnection(urlsplit(info.http_url).netloc)
    connection.request("GET", target, headers={"kubefox-explain": "1"})
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


def by_api(platform: Path, info: PlatformInfo, target: str) -> Any:
    """Return the control API's explanation of a URL."""
    url = f"{info.control_url}/v1/explain?url={quote(target, safe='')}"
    request = urllib.request.Request(url, headers=credentials(platform))  # noqa: S310 - on loopback
    with urllib.request.urlopen(request) as response:  # noqa: S310 - on loopback
        return json.loads(response.read())


def test_command_api_and_header_give_the_same_explanation(
    fox: Cli, platform: Path, tmp_path: Path, info: PlatformInfo
) -> None:
    released(fox, tmp_path, "alike")

    for target, code in (
        ("/alike/alike/Ada%2FB?x=1", 0),
        ("/alike/alike/Ada?kf-dep=alike-v1&kf-ve=alike", 0),
        ("/alike//alike/Ada/?kf-ve=alike", 0),
        ("/alike/nothing?kf-ve=alike", 3),
        ("/alike/alike/Ada?kf-dep=unknown&kf-ve=alike", 3),
        ("/alike/alike/Ada?kf-dep=alike-v1", 1),
    ):
        explained = json.loads(fox("explain", target, "-o", "json", code=code).stdout)

        assert by_api(platform, info, target) == explained
        assert by_header(info, target) == explained


def test_a_release_with_conflicting_routes_is_refused_with_a_table(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    released(fox, tmp_path, "tied")
    apply_twin(fox, tmp_path, "tied", "tied")

    printed = fox("release", "tied-v1", "--virtual-env", "tied-twin", code=4).stderr
    table = " ".join(printed.replace("│", " ").split())

    assert "PROBLEM" in printed
    assert "RouteConflict" in printed
    assert "tied-v1" in table
    assert "priority" in table
    fox("release", "tied-v1", "--virtual-env", "tied")
    assert visit(platform, "/tied/tied/Ada") == "Moin Ada"
    apply_twin(fox, tmp_path, "tied", "apart")
    fox("release", "tied-v1", "--virtual-env", "tied-twin")
    assert visit(platform, "/apart/tied/Ada") == "Hello Ada"


def test_routes_that_conflict_after_a_change_of_variables_are_explained(
    fox: Cli, tmp_path: Path
) -> None:
    released(fox, tmp_path, "since")
    apply_twin(fox, tmp_path, "since", "other")
    fox("release", "since-v1", "--virtual-env", "since-twin")
    apply_twin(fox, tmp_path, "since", "since")

    printed = fox("explain", "/since/since/Ada").stdout
    (conflict,) = json.loads(fox("explain", "/since/since/Ada", "-o", "json").stdout)["conflicts"]

    # The later release wins.
    assert "virtual environment  since-twin" in printed
    assert "ties with" in printed
    assert "since-v1, released in since (components.web.routes[0].rule)" in printed
    assert conflict["virtual_environment"] == "since"
    assert conflict["release"]
