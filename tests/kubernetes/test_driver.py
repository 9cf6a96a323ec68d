"""The driver on a real API: the contract of all drivers, and what only a cluster has."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from kubefox.errors import InternalError
from pods.base import PodDriver, PodSpec
from pods.kubernetes.manifests import workload_name
from tests.kubernetes.lab_driver import LabDriver
from tests.pods import programs
from tests.pods.driver_contract import Bundles, DriverContract


class TestKubernetesDriver(LabDriver, DriverContract):
    async def test_the_pods_of_a_version_are_those_of_one_deployment(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)

        async with driver.run(spec) as one, driver.run(spec) as two:
            assert all(await asyncio.gather(one.wait_ready(), two.wait_ready()))
            (deployment,) = await self.deployments()
            pods = await self.pods(lambda pods: len(pods) == 2)
            (budget,) = await asyncio.to_thread(
                self.cluster.get, self.namespace, "poddisruptionbudgets"
            )

        assert budget["metadata"]["name"] == workload_name(spec.version)
        assert deployment["metadata"]["name"] == workload_name(spec.version)
        assert deployment["spec"]["replicas"] == 2
        assert {one.name, two.name} == {pod["metadata"]["name"] for pod in pods}
        assert one.end.is_clean
        assert two.end.is_clean

    async def test_pods_run_where_the_template_says(self, bundles: Bundles) -> None:
        spec = bundles.add(programs.GOOD)
        template = (
            '{"nodeSelector": {"kubernetes.io/hostname": "node-b"},'
            ' "tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],'
            ' "affinity": {"nodeAffinity": {}}, "priorityClassName": "",'
            ' "imagePullSecrets": [{"name": "registry"}], "imagePullPolicy": "Always"}'
        )

        async with (
            self.open_driver(bundles, template=template) as driver,
            driver.run(spec) as one,
            driver.run(spec) as two,
        ):
            assert all(await asyncio.gather(one.wait_ready(), two.wait_ready()))
            pods = await self.pods(lambda pods: len(pods) == 2)

        for pod in pods:
            (container,) = pod["spec"]["containers"]
            assert pod["spec"]["nodeName"] == "node-b"
            assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
            assert "pool" in {each.get("key") for each in pod["spec"]["tolerations"]}
            assert container["imagePullPolicy"] == "Always"

    async def test_the_code_and_the_login_of_a_pod_are_its_own(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(TELL_LOGIN)

        async with driver.run(spec) as pod:
            await pod.wait_gone()

        name = workload_name(spec.version)
        assert f"{name}-" in pod.end.message
        assert f"pods.held.{pod.name}" in pod.end.message

    async def test_damaged_code_never_runs(self, driver: PodDriver, bundles: Bundles) -> None:
        good, other = bundles.add(programs.GOOD), bundles.add(programs.GOOD + "# another")
        bundles.held[good.hash] = bundles.held[other.hash]

        async with driver.run(good) as pod:
            assert not await pod.wait_ready()

        assert "has other content than its hash says" in pod.end.message

    async def test_a_pod_that_others_delete_is_replaced_at_once(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            first = pod.name
            await asyncio.to_thread(
                self.cluster.kubectl, "delete", "pod", first, "--namespace", self.namespace
            )
            await pod.wait_gone()

        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            (deployment,) = await self.deployments()

        assert pod.name != first
        assert deployment["spec"]["replicas"] == 1

    async def test_a_deployment_that_others_scale_is_put_back(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        name = f"deployment/{workload_name(spec.version)}"
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            where = ("--namespace", self.namespace)
            await asyncio.to_thread(self.cluster.kubectl, "label", name, "team=shop", *where)
            await asyncio.to_thread(self.cluster.kubectl, "scale", name, "--replicas=3", *where)

            def is_back() -> bool:
                (found,) = self.cluster.get(self.namespace, "deployments")
                generation, replicas = found["metadata"]["generation"], found["spec"]["replicas"]
                return bool(generation >= 3 and replicas == 1)

            await asyncio.to_thread(self.cluster.wait, is_back)
            (deployment,) = await self.deployments()
            # Kubernetes chooses which one.
            await self.pods(lambda pods: len(pods) == 1)

        assert deployment["metadata"]["labels"]["team"] == "shop"

    async def test_another_field_manager_is_refused_or_gets_only_fields_of_its_own(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            refused = await self.apply_as_other(spec, {"spec": {"replicas": 3}}, succeeds=False)
            await self.apply_as_other(spec, {"metadata": {"annotations": {"team": "shop"}}})
            forced = {"metadata": {"annotations": {"team": "toys"}}, "spec": {"replicas": 2}}
            await self.apply_as_other(spec, forced, "--force-conflicts")

            def is_back() -> bool:
                (found,) = self.cluster.get(self.namespace, "deployments")
                return bool(found["metadata"]["generation"] >= 3 and found["spec"]["replicas"] == 1)

            await asyncio.to_thread(self.cluster.wait, is_back)
            (deployment,) = await self.deployments()

        assert 'conflict with "kubefox"' in refused
        assert ".spec.replicas" in refused
        assert deployment["metadata"]["annotations"]["team"] == "toys"

    async def apply_as_other(
        self, spec: PodSpec, fields: dict[str, Any], *options: str, succeeds: bool = True
    ) -> str:
        """Apply fields of a Deployment as another tool does; return why that is refused, if so."""
        meta = {"name": workload_name(spec.version), **fields.pop("metadata", {})}
        manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, **fields}
        command = ("apply", "--server-side", "--field-manager=gitops", "--filename=-", *options)
        where = ("--namespace", self.namespace)
        run = partial(self.cluster.kubectl, *command, *where, stdin=json.dumps(manifest))
        if succeeds:
            return await asyncio.to_thread(run)
        with pytest.raises(AssertionError) as refused:
            await asyncio.to_thread(run)
        return str(refused.value)

    async def test_a_deployment_that_others_delete_is_put_back(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        name = f"deployment/{workload_name(spec.version)}"
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            await asyncio.to_thread(
                self.cluster.kubectl, "delete", name, "--namespace", self.namespace
            )
            await pod.wait_gone()

            def is_back() -> bool:
                return self.cluster.exists(
                    self.namespace, "deployment", workload_name(spec.version)
                )

            await asyncio.to_thread(self.cluster.wait, is_back)

    async def test_another_process_takes_over_the_pods(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            driver.detach()

        async with self.open_driver(bundles) as next_driver, next_driver.run(spec) as taken:
            assert await taken.wait_ready()
            name = taken.name

        assert name == pod.name
        assert taken.end.is_clean

    async def test_a_deployment_keeps_its_pods_while_another_process_takes_them_over(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        async with driver.run(spec) as one, driver.run(spec) as two:
            assert all(await asyncio.gather(one.wait_ready(), two.wait_ready()))
            driver.detach()
        (before,) = await self.deployments()

        async with self.open_driver(bundles) as next_driver:
            left = await next_driver.left_pods()
            async with next_driver.run(spec) as first, next_driver.run(spec) as second:
                assert all(await asyncio.gather(first.wait_ready(), second.wait_ready()))
                (after,) = await self.deployments()

        assert left == {spec.version: 2}
        assert {first.name, second.name} == {one.name, two.name}
        # The first of the two has not given it one pod for a moment.
        assert after["metadata"]["generation"] == before["metadata"]["generation"]

    async def test_a_secret_that_others_delete_is_back_when_a_pod_has_not_started(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        name, where = workload_name(spec.version), ("--namespace", self.namespace)
        async with driver.run(spec) as pod:
            assert await pod.wait_ready()
            await asyncio.to_thread(self.cluster.kubectl, "delete", "secret", name, *where)
            await asyncio.to_thread(self.cluster.kubectl, "delete", "pod", pod.name, *where)
            await pod.wait_gone()

        async with driver.run(spec) as waiting:
            await self.pods(lambda pods: [bool(pod["spec"].get("nodeName")) for pod in pods] == [1])
            # As the supervisor does at the end of the time for a start.
            waiting.kill()
            await waiting.wait_gone()

        async with driver.run(spec) as replacement:
            assert await replacement.wait_ready()

    async def test_a_pod_that_is_lost_while_the_platform_is_away_is_replaced(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        async with self.open_driver(bundles) as first_driver, first_driver.run(spec) as pod:
            assert await pod.wait_ready()
            first_driver.detach()
        lost = pod.name

        await asyncio.to_thread(
            self.cluster.kubectl, "delete", "pod", lost, "--namespace", self.namespace
        )
        (successor,) = await self.pods(lambda pods: len(pods) == 1)

        async with driver.run(spec) as replacement:
            assert await replacement.wait_ready()
        assert replacement.name == successor["metadata"]["name"] != lost

    async def test_a_pod_that_hangs_is_ended_by_its_liveness_probe(self, bundles: Bundles) -> None:
        spec = bundles.add(programs.BEAT + "beat()\n" + programs.STUBBORN)

        async with self.open_driver(bundles, alive_s=2) as driver, driver.run(spec) as pod:
            assert await pod.wait_ready()
            await pod.wait_gone()

        assert pod.end.message.startswith("killed by SIGKILL")
        assert "livenessProbe failed" in pod.end.message

    async def test_a_driver_that_closes_still_ends_the_pod_of_a_cancelled_drain(
        self, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.STUBBORN)
        ready = asyncio.Event()

        async def serve(driver: PodDriver) -> None:
            async with driver.run(spec) as pod:
                await pod.wait_ready()
                ready.set()
                await asyncio.Event().wait()

        async with self.open_driver(bundles) as driver:
            serving = asyncio.create_task(serve(driver))
            await ready.wait()
            serving.cancel()
            await asyncio.sleep(0)
            serving.cancel()
            await asyncio.wait([serving])

        (deployment,) = await self.deployments()
        assert deployment["spec"]["replicas"] == 0
        assert not await self.pods(lambda pods: not pods)

    async def test_an_absent_api_server_ends_no_pod_and_is_followed_again(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.STUBBORN)) as pod:
            assert await pod.wait_ready()
            self.cluster.control_plane.kill_api_server()
            with pytest.raises(InternalError, match="cannot be applied"):
                async with driver.run(bundles.add(programs.GOOD + "# another", pod="pod-2")):
                    raise AssertionError("it runs")
            await asyncio.to_thread(self.cluster.control_plane.start_api_server)
            pod.kill()
            await pod.wait_gone()

        assert pod.end.message == "killed by SIGKILL"

    async def test_a_retired_version_leaves_nothing_in_the_cluster(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        spec = bundles.add(programs.GOOD)
        async with driver.run(spec) as one, driver.run(spec) as two:
            await asyncio.gather(one.wait_ready(), two.wait_ready())

        driver.retire(spec.version)

        name = workload_name(spec.version)

        def is_gone() -> bool:
            kinds = ("deployment", "secret", "poddisruptionbudget")
            return not any(self.cluster.exists(self.namespace, kind, name) for kind in kinds)

        await asyncio.to_thread(self.cluster.wait, is_gone)


TELL_LOGIN = """
import json, os, sys, base64
login = json.loads(os.read(int(os.environ["FOX_NATS_OWN_LOGIN_FD"]), 65536))
claims = login["credentials"]["token"].split(".")[1]
allowed = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["nats"]["sub"]
sys.exit(" ".join(name for name in allowed["allow"] if name.startswith("pods.held")))
"""
