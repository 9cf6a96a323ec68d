import subprocess
from pathlib import Path

import pytest

from examples.order_app import build, main
from fox.source.app import read_app


def test_the_versions_differ_in_the_expected_components_only(tmp_path: Path) -> None:
    build(tmp_path)

    v1, v2, v3, snoop = (read_app(tmp_path, ref=ref).hashes for ref in ("v1", "v2", "v3", "snoop"))

    assert set(v1) == {"order-worker", "api-server", "order-ui"}
    assert dict(v2.items() - v1.items()).keys() == {"api-server"}
    assert dict(v3.items() - v2.items()).keys() == {"order-ui", "review"}
    assert dict(snoop.items() - v3.items()).keys() == {"snoop"}


def test_two_builds_have_the_same_commits(tmp_path: Path) -> None:
    for name in ("one", "other"):
        build(tmp_path / name)

    one, other = (
        subprocess.check_output(["git", "rev-parse", "v1", "v2", "v3"], cwd=tmp_path / name)
        for name in ("one", "other")
    )

    assert one == other


def test_a_folder_that_is_not_empty_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SystemExit, match=f"error: {tmp_path} is not empty: name a new folder"):
        main(tmp_path)


def test_the_app_has_two_modules(tmp_path: Path) -> None:
    build(tmp_path)

    modules = read_app(tmp_path, ref="v1").spec.modules

    assert modules["fulfillment"].components == ("order-worker", "api-server")
    assert modules["fulfillment"].adapters == ("cron", "state-store")
    assert modules["web-ui"].components == ("order-ui", "api-server")
    assert modules["web-ui"].adapters == ("http", "state-store")
