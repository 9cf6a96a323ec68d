"""A variable without a value: a warning at deploy, an error at run time."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path

import pytest

from tests.fox.cli.conftest import Cli, visit
from tests.fox.cli.shop import make


def test_a_variable_without_a_value_is_seen_at_deploy_and_at_run_time(
    fox: Cli, platform: Path, tmp_path: Path
) -> None:
    shop = make(tmp_path, "needy")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "needy-old", "--app", shop.folder)
    fox("release", "needy-old", "--virtual-env", "needy")
    main = shop.folder / "components" / "web" / "main.py"
    shop.write(
        {"components/web/main.py": main.read_text().replace(', default="Hello"', "")}
        | {
            "environments.yaml": (shop.folder / "environments.yaml")
            .read_text()
            .replace(", greeting: Moin", "")
        }
    )
    shop.commit()
    fox("apply", "-f", shop.folder / "environments.yaml")

    planned = fox("deploy", "--app", shop.folder, "--dry-run", "--load")
    deployed = fox("deploy", "--app", shop.folder)
    url = "/needy/needy/Ada?kf-dep=needy-main&kf-ve=needy"
    with pytest.raises(urllib.error.HTTPError) as caught:
        visit(platform, url)

    warning = "warning: web requires variable greeting, which is not set in virtual environment "
    assert warning in deployed.stderr
    assert planned.stderr == deployed.stderr
    assert "needy" in deployed.stderr.partition(warning)[2].splitlines()[0]
    assert caught.value.code == 500
    problem = json.loads(caught.value.read())
    assert problem["code"] == "variable_missing"
    assert (
        "variable 'greeting' of component web has no value in virtual environment needy"
        in (problem["detail"])
    )
    logged = fox("logs", "--deployment", "needy-main").stdout
    assert "variable 'greeting' of component web has no value" in logged
    explained = fox("explain", url).stdout
    assert "web requires variable greeting, which is not set, in virtual environment needy" in (
        " ".join(explained.split())
    )
