"""An outsider meets what is released, and learns nothing about the rest.

One platform listens on loopback with the default policy. An outsider comes through a proxy on the
same machine, or is a web page in the owner's browser. ``live`` is production with shop-v1 released;
shop-v2 is deployed, and ``qa`` shares it by links.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from fox.data_dir import PlatformInfo, read_info
from tests.fox.cli.conftest import Cli, platform
from tests.support.repository import Repository

__all__ = ["platform"]

ENVIRONMENTS = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: shop}
spec: {releasePolicy: {type: Testing}}
data: {vars: {secretPrice: not-for-everybody}}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: live}
spec: {environment: shop, production: true}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: qa}
spec: {environment: shop, selection: signed}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: mine}
spec: {environment: shop}
"""
MAIN = """\
from fox import Context, Kit

kit = Kit()
kit.env("secretPrice")


@kit.route("PathPrefix(`/shop`)")
async def show(ctx: Context) -> str:
    return f"{ctx.deployment} in {ctx.virtual_environment}: {ctx.env['secretPrice']} VERSION"


if __name__ == "__main__":
    kit.serve()
"""
PROXY = {"X-Forwarded-For": "203.0.113.7"}
OUTSIDE = (
    PROXY,
    {"Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "127.0.0.1"},
    {"Host": "shop.example.com"},
    {"Host": "127.0.0.1.example.com"},
    {"Origin": "https://evil.example.com"},
    {"Origin": "null"},
)
_IDS = re.compile(r"[0-9a-f]{32}")


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: str

    @property
    def without_ids(self) -> object:
        """All that does not differ from one event to the next."""
        headers = [header for header in self.headers if header[0].lower() != "date"]
        return _IDS.sub("ID", f"{self.status} {headers} {self.body}")


class Attack(NamedTuple):
    fox: Cli
    info: PlatformInfo

    def send(self, target: str, headers: Mapping[str, str] = PROXY, method: str = "GET") -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.info.http_url).netloc)
        connection.request(method, target, headers=dict(headers))
        response = connection.getresponse()
        answer = Answer(response.status, response.getheaders(), response.read().decode())
        connection.close()
        return answer

    def share(self, *options: str) -> dict[str, Any]:
        shared = self.fox("share", "shop-v2", "-e", "qa", *options, "-o", "json").stdout
        found: dict[str, Any] = json.loads(shared)
        return found


@pytest.fixture(scope="module")
def attack(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    fox = Cli({"FOX_DATA_DIR": str(platform)})
    shop = Repository(tmp_path_factory.mktemp("shop"))
    for version in ("v1", "v2"):
        main = MAIN.replace("VERSION", version)
        shop.write({"app.yaml": "name: shop\n", "components/web/main.py": main})
        shop.commit(version)
        fox("deploy", f"shop-{version}", "--app", shop.folder, "--ref", version, "--wait")
        if version == "v1":
            (shop.root / "environments.yaml").write_text(ENVIRONMENTS)
            fox("apply", "-f", shop.root / "environments.yaml")
            fox("release", "shop-v1", "--virtual-env", "live", "--wait")
    info = read_info(platform)
    assert info is not None
    return Attack(fox, info)


@pytest.mark.parametrize("headers", OUTSIDE, ids=str)
def test_an_outsider_does_not_reach_unreleased_code_with_data_of_others(
    attack: Attack, headers: dict[str, str]
) -> None:
    for name in ("live", "qa", "mine"):
        answer = attack.send(f"/shop?kf-dep=shop-v2&kf-ve={name}", headers)

        assert answer.status == 404
        assert "not-for-everybody" not in answer.body


def test_an_outsider_reaches_what_is_released(attack: Attack) -> None:
    for target in ("/shop", "/shop?kf-ve=live", "/shop?kf-dep=shop-v1&kf-ve=live"):
        assert attack.send(target).body == "shop-v1 in live: not-for-everybody v1"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_an_outsider_cannot_guess_names(attack: Attack, method: str) -> None:
    names = itertools.product(("shop-v1", "shop-v2", "nothing"), ("qa", "zz"))

    answers = {
        str(
            attack.send(f"/shop?kf-dep={deployment}&kf-ve={name}", method=method).without_ids
        ).replace(name, "NAME")
        for deployment, name in names
    }

    assert len(answers) == 1


def test_production_is_for_everybody_what_is_released(attack: Attack) -> None:
    inside = {"Host": "localhost"}
    unreleased = attack.send("/shop?kf-dep=shop-v2&kf-ve=live", inside)
    missing = attack.send("/shop?kf-dep=nothing&kf-ve=live", inside)

    assert unreleased.status == 404
    assert unreleased.without_ids == missing.without_ids
    assert attack.send("/shop?kf-dep=shop-v2&kf-ve=mine", inside).status == 200
    refused = attack.fox("share", "shop-v2", "-e", "live", code=4)
    assert "only what is released" in refused.stderr


def test_nobody_gets_into_a_signed_environment_without_a_share(attack: Attack) -> None:
    token = attack.share()["token"]
    by_share = attack.send("/shop", {"Cookie": f"kf-share={token}"})

    assert attack.send("/shop?kf-dep=shop-v2&kf-ve=qa", {}).status == 404
    assert by_share.body == "shop-v2 in qa: not-for-everybody v2"


def test_a_share_cannot_be_altered(attack: Attack) -> None:
    token: str = attack.share()["token"]
    altered = [
        token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        for at in range(0, len(token), 7)
    ]

    answers = [attack.send("/shop", {"Cookie": f"kf-share={text}"}) for text in altered]

    assert {answer.status for answer in answers} == {404}
    assert len({str(answer.without_ids) for answer in answers}) == 1


def test_a_share_ends_by_itself(attack: Attack) -> None:
    shared = attack.share("--ttl", "1s")
    while time.time() <= shared["share"]["expires_at_s"]:
        time.sleep(0.05)

    for headers in ({"Cookie": f"kf-share={shared['token']}"}, {"kf-share": shared["token"]}):
        assert attack.send("/shop", headers).status == 404


def test_a_revoked_share_is_refused(attack: Attack) -> None:
    shared = attack.share()
    cookie = {"Cookie": f"kf-share={shared['token']}"}
    assert attack.send("/shop", cookie).status == 200

    attack.fox("share", "--revoke", shared["share"]["name"])

    ends_s = time.monotonic() + 20
    while attack.send("/shop", cookie).status != 404:
        assert time.monotonic() < ends_s


@pytest.mark.parametrize("headers", OUTSIDE, ids=str)
def test_an_outsider_gets_no_explanation(attack: Attack, headers: dict[str, str]) -> None:
    inside = attack.send("/shop", {"kubefox-explain": "1"})
    outside = attack.send("/shop", {**headers, "kubefox-explain": "1"})

    assert "candidates" in json.loads(inside.body)
    assert outside.body == "shop-v1 in live: not-for-everybody v1"
