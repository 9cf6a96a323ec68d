"""A share whose link no listener accepts: the command, the status and the answer say the same."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import make
from tests.security.running import run_platform

pytestmark = pytest.mark.slow


def test_a_link_that_the_listener_refuses_has_a_warning(tmp_path: Path) -> None:
    shop = make(tmp_path, "refused")
    with run_platform(tmp_path / "data", FOX_HTTP_SELECTION="released") as platform:
        fox = Cli({"FOX_DATA_DIR": str(platform.folder)})
        fox("apply", "-f", shop.folder / "environments.yaml")
        fox("deploy", "refused-v1", "--app", shop.folder, "--no-wait")

        made = fox("share", "refused-v1", "-e", "refused", "--path", "/refused/refused/Ada")
        status = fox("status").stdout
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(made.stdout.strip())  # noqa: S310 - on loopback
        answer.value.close()

    assert "warning: the link gets 404 from the HTTP adapter" in made.stderr
    assert "FOX_HTTP_SELECTION=signed" in made.stderr
    assert ["selection", "ok", "released"] in [line.split() for line in status.splitlines()]
    assert answer.value.code == 404
