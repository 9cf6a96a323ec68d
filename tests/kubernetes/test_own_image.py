"""Components that name an image of their own, on a real API: the driver, and a whole platform."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubefox.digest import RuntimeSpec
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.lab_driver import REPOSITORY, LabDriver
from tests.kubernetes.platform import open_platform
from tests.kubernetes.python_image import GREETING, IMPORT, add_image, reference
from tests.pods import programs
from tests.pods.driver_contract import Bundles
from tests.support.nats import NatsServer
from tests.support.repository import Repository, app_files

NUMBERS = itertools.count(1)
MAIN = f"""from fox import Context, Kit

kit = Kit(title="Greeter")


@kit.route("Path(`/greeting`)")
async def greet(ctx: Context) -> str:
    {IMPORT}
    return GREETING
"""
ENVIRONMENTS = """
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: dev}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: team}
spec: {environment: dev}
"""


def waiting(pod: dict[str, Any]) -> dict[str, Any]:
    """Return why the container of a pod does not run yet."""
    (status,) = pod["status"].get("containerStatuses", [{}])
    found: dict[str, Any] = status.get("state", {}).get("waiting", {})
    return found


def image_of(deployment: dict[str, Any]) -> str:
    """Return the image of a Deployment's pods."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def greetings(folder: Path, image: str) -> Repository:
    """Return an app of two components, of which one runs in an image of its own."""
    app = Repository(folder)
    app.write(
        {
            **app_files("greetings", "web"),
            "components/greeter/main.py": MAIN,
            "components/greeter/component.yaml": f"image: {image}\n",
        }
    )
    app.commit()
    return app


class TestOwnImage(LabDriver):
    @pytest.fixture
    def bundles(self) -> Bundles:
        return Bundles()

    async def test_the_code_of_its_hash_runs_with_the_programs_of_the_image(
        self, bundles: Bundles, tmp_path: Path
    ) -> None:
        image = reference(next(NUMBERS))
        source = f"import sys\n{IMPORT}\nsys.exit(GREETING)\n"
        spec = bundles.add(source, runtime=RuntimeSpec(image=image))
        await asyncio.to_thread(add_image, self.cluster, image, tmp_path)

        async with self.open_driver(bundles) as driver, driver.run(spec) as pod:
            await pod.wait_gone()
            (deployment,) = await self.deployments()

        assert image_of(deployment) == image
        assert pod.end.message == f"exited with code 1: {GREETING}"

    async def test_a_pod_starts_when_its_image_can_be_pulled(
        self, bundles: Bundles, tmp_path: Path
    ) -> None:
        image = reference(next(NUMBERS))
        spec = bundles.add(programs.GOOD, runtime=RuntimeSpec(image=image))

        async with self.open_driver(bundles) as driver, driver.run(spec) as pod:
            (found,) = await self.pods(lambda pods: any(map(waiting, pods)))
            await self.pods(
                lambda pods: [waiting(each).get("reason") for each in pods] == ["ImagePullBackOff"]
            )
            await asyncio.to_thread(add_image, self.cluster, image, tmp_path)
            assert await pod.wait_ready()

        assert pod.name == found["metadata"]["name"]
        assert pod.end.is_clean

    async def test_its_pods_are_pulled_as_the_template_says(
        self, bundles: Bundles, tmp_path: Path
    ) -> None:
        image = reference(next(NUMBERS))
        spec = bundles.add(programs.GOOD, runtime=RuntimeSpec(image=image))
        template = '{"imagePullSecrets": [{"name": "registry"}], "imagePullPolicy": "Always"}'
        await asyncio.to_thread(add_image, self.cluster, image, tmp_path)

        async with (
            self.open_driver(bundles, template=template) as driver,
            driver.run(spec) as pod,
        ):
            assert await pod.wait_ready()
            (found,) = await self.pods(lambda pods: len(pods) == 1)

        assert found["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert found["spec"]["containers"][0]["imagePullPolicy"] == "Always"


@pytest.mark.timeout(600)
async def test_components_with_allowed_images_serve_requests(
    lab: LabCluster, namespace: str, own_secured_nats_server: NatsServer, tmp_path: Path
) -> None:
    image, folder = reference(next(NUMBERS)), tmp_path / "image"
    folder.mkdir()
    await asyncio.to_thread(add_image, lab, image, folder)
    app = greetings(tmp_path / "greetings", image)
    environments = tmp_path / "environments.yaml"
    environments.write_text(ENVIRONMENTS)
    values = {"image": {"componentRepositories": [REPOSITORY]}}

    async with (
        open_platform(lab, namespace, own_secured_nats_server, tmp_path, values) as platform,
        aiohttp.ClientSession() as session,
    ):
        await platform.fox("apply", "-f", environments)
        told = await platform.fox("deploy", "first", "--app", app.folder)
        url = f"{platform.http_url}/greeting?kf-dep=first&kf-ve=team"
        async with session.get(url) as answered:
            text = await answered.text()
        images = {
            each["metadata"]["labels"]["kubefox.io/component"]: image_of(each)
            for each in await platform.objects("deployments")
        }
        wide = await platform.fox("get", "pods", "-o", "wide")
        app.write({"components/greeter/component.yaml": f"image: registry.lab/other/{image[18:]}"})
        app.commit()
        refused = await platform.run("deploy", "second", "--app", app.folder)
        after = await platform.objects("deployments")
        app.write({"components/greeter/component.yaml": f"image: {reference(next(NUMBERS))}"})
        app.commit()
        await platform.fox("deploy", "third", "--app", app.folder, "--no-wait")
        while "ImagePullBackOff" not in (shown := await platform.fox("get", "pods")):
            await asyncio.sleep(0.5)

    assert (answered.status, text) == (200, GREETING)
    assert images["greeter"] == image != images["web"]
    assert f"in a cluster, greeter runs in the image {image}" in told
    assert image in wide
    assert refused.code != 0
    assert "image repository registry.lab/other/words is not allowed" in refused.err
    assert len(after) == len(images)
    assert "Back-off pulling image" in shown
