"""Images that components name: which ones nodes may pull, and how they get into the pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from broker.nats import bus as buses
from broker.nats.access import Access
from kubefox import formats
from kubefox.digest import RuntimeSpec
from kubefox.errors import FoxError, InvalidRequest
from pods.base import PodReport, PodSpec
from pods.kubernetes import manifests
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.cluster_pod import ClusterPod
from pods.kubernetes.driver import KubernetesDriver
from pods.kubernetes.follow import Meta
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.own_images import check_image, parse_repositories
from pods.kubernetes.replica import Replica
from pods.log_files import LogFiles
from pods.logins import PodLogins
from pods.logs import PodLogs
from tests.kubefox.test_formats import texts_of
from tests.pods.driver_contract import Bundles
from tests.pods.kubernetes.scripted_api import ScriptedApi, scripted_api
from tests.support.nats import NatsServer

DIGEST = "@sha256:" + "0f" * 32
IMAGE = f"registry.example:5000/team/api:1.0{DIGEST}"
SETTINGS = PodSettings(
    image="kubefox:1",
    image_repositories=("registry.example:5000/team",),
)


def test_a_pod_runs_the_image_that_its_component_names() -> None:
    spec = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
    own = msgspec.structs.replace(spec, runtime=RuntimeSpec(image=IMAGE))

    (plain,) = manifests.deployment(spec, 1, SETTINGS)["spec"]["template"]["spec"]["containers"]
    (found,) = manifests.deployment(own, 1, SETTINGS)["spec"]["template"]["spec"]["containers"]

    runtime = {"name": "FOX_RUNTIME", "value": found_value(found, "FOX_RUNTIME")}
    others = [each for each in plain["env"] if each["name"] != "FOX_RUNTIME"]
    assert plain["image"] == "kubefox:1"
    assert "image" not in found_value(plain, "FOX_RUNTIME")
    assert IMAGE in runtime["value"]
    # Command, probes, rights and volumes are those of all pods.
    assert {**found, "image": "kubefox:1", "env": None} == {**plain, "env": None}
    assert [each for each in found["env"] if each != runtime] == others


def test_a_pod_reports_the_image_that_its_component_names() -> None:
    spec = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
    own = msgspec.structs.replace(spec, runtime=RuntimeSpec(image=IMAGE))
    pod = ClusterPod(metadata=Meta(name="api-x", uid="u"))
    reports: list[PodReport] = []

    for each in (spec, own):
        replica = Replica(each, 30, lambda _pod: None)
        replica.listen(reports.append)
        replica.bind(pod)
        replica.report()

    assert {report.image for report in reports if report.name} == {"", IMAGE}
    assert reports[0].image == ""
    assert reports[-1].image == IMAGE


def found_value(container: dict[str, list[dict[str, str]]], name: str) -> str:
    """Return the value of a variable of a container."""
    return next(each["value"] for each in container["env"] if each["name"] == name)


@pytest.mark.parametrize(
    ("text", "repositories"),
    [
        ("", ()),
        (" , ", ()),
        ("registry.example", ("registry.example",)),
        ("localhost:5000/a/, registry:80", ("localhost:5000/a", "registry:80")),
    ],
)
def test_repositories_are_separated_by_commas(text: str, repositories: tuple[str, ...]) -> None:
    assert parse_repositories(text) == repositories


@pytest.mark.parametrize(
    "text", ["team", "registry", "Registry.Example", "registry.example/a:1", IMAGE, "a.b/*", "*"]
)
def test_a_repository_that_is_not_valid_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"image repository .* is not valid") as caught:
        parse_repositories(f"registry.example,{text}")

    assert str(caught.value).startswith(f"FOX_POD_IMAGE_REPOSITORIES='registry.example,{text}': ")


@pytest.mark.parametrize(
    "repository",
    [
        "registry.example:5000",
        "registry.example:5000/team",
        "registry.example:5000/team/api",
    ],
)
def test_a_repository_allows_all_images_below_it(repository: str) -> None:
    check_image(IMAGE, ("other.example", repository))


@pytest.mark.parametrize(
    "repository",
    [
        "registry.example",
        "registry.example:500",
        "registry.example:5000/tea",
        "registry.example:5000/team/ap",
        "registry.example:5000/team/api/v1",
    ],
)
def test_a_repository_allows_no_image_beside_it(repository: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{repository}$"):
        check_image(IMAGE, (repository,))


@given(texts_of(formats.IMAGE), texts_of(formats.IMAGE_REPOSITORY))
def test_an_image_is_allowed_by_its_registry_and_folders_alone(image: str, other: str) -> None:
    name = image.partition("@")[0]
    parts = name.split("/")
    parts[-1] = parts[-1].partition(":")[0]
    above = {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}

    for repository in above:
        check_image(image, (repository,))
    if other not in above:
        with pytest.raises(InvalidRequest):
            check_image(image, (other,))


@pytest.fixture
async def driver(
    nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[tuple[KubernetesDriver, Bundles, ScriptedApi]]:
    bundles = Bundles()
    async with (
        scripted_api() as (script, _api),
        buses.connect(nats_server.url, process_id="pods") as bus,
    ):
        script.watches = [[]]
        made = KubernetesDriver(
            find_cluster=lambda: Cluster(server=script.url, namespace="shop"),
            bus=bus,
            data_dir=tmp_path,
            logins=PodLogins(Access(nats_server.url, None)),
            fetch=bundles.get,
            logs=PodLogs(LogFiles(tmp_path / "logs")),
            settings=SETTINGS,
        )
        async with made:
            yield made, bundles, script


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (f"other.example/team/api{DIGEST}", "is not allowed: FOX_POD_IMAGE_REPOSITORIES has"),
        ("registry.example:5000/team/api:1.0", "a tag alone may be moved"),
    ],
)
async def test_an_image_that_is_not_allowed_is_never_written(
    driver: tuple[KubernetesDriver, Bundles, ScriptedApi], image: str, message: str
) -> None:
    opened, bundles, script = driver
    spec = bundles.add("1", runtime=RuntimeSpec(image=image))

    with pytest.raises(InvalidRequest, match=message):
        async with opened.run(spec):
            raise AssertionError("it runs")

    assert script.writes == []


async def test_an_image_that_is_not_that_of_the_hash_is_never_written(
    driver: tuple[KubernetesDriver, Bundles, ScriptedApi],
) -> None:
    opened, bundles, script = driver
    spec = bundles.add("1")
    other = msgspec.structs.replace(spec, runtime=RuntimeSpec(image=IMAGE))

    with pytest.raises(FoxError, match="or another image, than its hash says"):
        async with opened.run(other):
            raise AssertionError("it runs")

    assert script.writes == []
