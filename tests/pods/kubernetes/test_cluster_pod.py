"""What the state of a pod in the cluster says of its component."""

from __future__ import annotations

import msgspec
import pytest

from pods.kubernetes.cluster_pod import ClusterPod, Condition, creation_fault

LATER = "Kubernetes starts it again later (CrashLoopBackOff)"
UNSCHEDULABLE = """{"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
  "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient cpu."}]}"""
STARTING = """{"containerStatuses": [{"name": "component",
  "state": {"waiting": {"reason": "ContainerCreating"}}}]}"""
BACK_OFF = """{"containerStatuses": [{"name": "component", "restartCount": 2,
  "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
  "lastState": {"terminated": {"exitCode": 1, "message": "starting\\nno such table"}}}]}"""
OUT_OF_MEMORY = """{"containerStatuses": [{"name": "component",
  "state": {"waiting": {"reason": "CrashLoopBackOff"}},
  "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}"""
NO_IMAGE = """{"containerStatuses": [{"name": "component",
  "state": {"waiting": {"reason": "ImagePullBackOff",
  "message": "Back-off pulling image \\"shop:1\\"\\nnot found"}}}]}"""
EVICTED = """{"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory.",
  "conditions": [{"type": "PodScheduled", "status": "False"}]}"""
LOST = """{"conditions": [{"type": "Ready", "status": "False"},
  {"type": "ContainersReady", "status": "True"}]}"""
READY = """{"conditions": [{"type": "Ready", "status": "True"},
  {"type": "ContainersReady", "status": "True"}],
  "containerStatuses": [{"name": "component", "state": {"running": {}}}]}"""
MESHED = """{"containerStatuses": [
  {"name": "mesh-proxy", "restartCount": 7, "state": {"running": {}}},
  {"name": "component", "restartCount": 1, "state": {"waiting": {"reason": "ErrImagePull"}}}]}"""


def pod(status: str) -> ClusterPod:
    text = '{"metadata": {"name": "a"}, "spec": {"nodeName": "n-1"}, "status": ' + status + "}"
    return msgspec.json.decode(text, type=ClusterPod)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("{}", ""),
        (STARTING, ""),
        (READY, ""),
        (UNSCHEDULABLE, "cannot be scheduled: 0/2 nodes are available: 2 Insufficient cpu."),
        (
            BACK_OFF,
            f"exited with code 1: no such table; {LATER}",
        ),
        (
            OUT_OF_MEMORY,
            f"was killed because it exceeded its memory limit; {LATER}",
        ),
        (
            NO_IMAGE,
            'cannot start: ImagePullBackOff: Back-off pulling image "shop:1" not found',
        ),
        (EVICTED, "has ended for good: Evicted: The node was low on memory."),
        (LOST, "is on node n-1, which does not answer"),
    ],
)
def test_a_pod_that_does_not_serve_says_why(status: str, expected: str) -> None:
    assert pod(status).fault == expected


def test_a_pod_is_lost_only_if_its_containers_were_ready() -> None:
    assert pod(LOST).is_lost
    assert not any(pod(status).is_lost for status in ("{}", READY, BACK_OFF))


def test_a_log_is_there_once_the_container_has_started() -> None:
    assert [pod(status).has_started for status in (STARTING, NO_IMAGE, BACK_OFF, READY)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_deployment_says_why_its_pods_cannot_be_created() -> None:
    refused = Condition(
        type="ReplicaFailure",
        status="True",
        reason="FailedCreate",
        message='pods "a" is forbidden: exceeded quota: few',
    )

    assert creation_fault([refused]) == f"cannot be created: {refused.message}"
    assert not creation_fault([msgspec.structs.replace(refused, status="False")])
    assert not creation_fault([])


def test_a_long_message_of_the_cluster_is_cut() -> None:
    condition = Condition(type="ReplicaFailure", status="True", message="x" * 10_000)

    assert len(creation_fault([condition])) < 500


def test_containers_that_the_cluster_adds_to_a_pod_are_not_its_component() -> None:
    meshed = pod(MESHED)

    assert not meshed.is_running
    assert meshed.restarts == 1
    assert meshed.fault == "cannot start: ErrImagePull"
