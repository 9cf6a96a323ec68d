"""The lab itself: what other tests rely on is so on its control plane and its nodes."""

from __future__ import annotations

import signal
import urllib.request
from typing import Any

import pytest

from tests.kubernetes import manifests, node_numbers
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.node_numbers import claimed_number

SAY_VERSION = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["VERSION"].encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer((os.environ["ADDRESS"], 8000), Answer).serve_forever()
"""


COUNT = "import time; print('one', flush=True); time.sleep(0.5); print('two')"


def server(version: str) -> dict[str, Any]:
    env = [manifests.ADDRESS, {"name": "VERSION", "value": version}]
    return manifests.script(SAY_VERSION, env=env, readinessProbe=manifests.READY)


def answers(pods: list[dict[str, Any]]) -> list[str]:
    urls = [f"http://{pod['status']['podIP']}:8000/" for pod in pods]
    return [urllib.request.urlopen(url, timeout=30).read().decode() for url in urls]  # noqa: S310


def terminated(pod: dict[str, Any], state: str = "state") -> dict[str, Any] | None:
    (status,) = pod["status"].get("containerStatuses", [{}])
    found: dict[str, Any] | None = status.get(state, {}).get("terminated")
    return found


def test_the_pods_of_a_deployment_answer_at_addresses_of_their_own(
    lab: LabCluster, namespace: str
) -> None:
    lab.apply(namespace, manifests.deployment("web", 2, server("one")))
    lab.wait_available(namespace, "web")

    pods = lab.pods(namespace)

    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    assert answers(pods) == ["one", "one"]


def test_a_deleted_pod_is_replaced(lab: LabCluster, namespace: str) -> None:
    lab.apply(namespace, manifests.deployment("web", 2, server("one")))
    lab.wait_available(namespace, "web")
    before = {pod["metadata"]["name"] for pod in lab.pods(namespace)}

    lab.kubectl("delete", "pod", min(before), "--namespace", namespace)
    # Until then, the Deployment may still count the pod that is gone.
    lab.wait(lambda: len(lab.pods(namespace)) == 2)
    lab.wait_available(namespace, "web")

    after = {pod["metadata"]["name"] for pod in lab.pods(namespace)}
    assert len(after) == 2
    assert before & after == {max(before)}


def test_a_rolling_update_replaces_each_pod_by_one_that_is_ready(
    lab: LabCluster, namespace: str
) -> None:
    lab.apply(namespace, manifests.deployment("web", 2, server("one")))
    lab.wait_available(namespace, "web")

    lab.apply(namespace, manifests.deployment("web", 2, server("two")))
    lab.wait_available(namespace, "web")

    assert answers(lab.pods(namespace)) == ["two", "two"]


def test_an_update_that_never_gets_ready_leaves_the_old_pods(
    lab: LabCluster, namespace: str
) -> None:
    lab.apply(namespace, manifests.deployment("web", 1, server("one")))
    lab.wait_available(namespace, "web")

    # Without a readiness probe, a container is ready while it runs.
    broken = manifests.script(
        "raise SystemExit('no such table: orders')", readinessProbe=manifests.READY
    )
    lab.apply(namespace, manifests.deployment("web", 1, broken))
    lab.wait(lambda: any(terminated(pod, "lastState") for pod in lab.pods(namespace)))

    (old,) = [pod for pod in lab.pods(namespace) if not terminated(pod, "lastState")]
    assert answers([old]) == ["one"]


def test_volumes_and_variables_of_a_pod_hold_what_it_refers_to(
    lab: LabCluster, namespace: str
) -> None:
    scope = ("--namespace", namespace)
    lab.kubectl("create", "secret", "generic", "login", "--from-literal=key=s3cret", *scope)
    lab.kubectl("create", "configmap", "settings", "--from-literal=colour=blue", *scope)
    main = manifests.script(
        "import os, pathlib, sys; e = os.environ;"
        "read = lambda path: pathlib.Path(path).read_text();"
        "sys.exit(' '.join([e['POD'], e['COLOUR'], read(e['KEY']), read('/etc/login/key')]))",
        env=[
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {
                "name": "COLOUR",
                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}},
            },
            {"name": "KEY", "value": "/etc/login/key"},
        ],
        volumeMounts=[{"name": "login", "mountPath": "/etc/login"}],
    )
    volumes = [{"name": "login", "secret": {"secretName": "login"}}]

    pod = manifests.pod("reader", main, volumes=volumes, restartPolicy="Never")
    lab.apply(namespace, pod)
    lab.wait(lambda: any(map(terminated, lab.pods(namespace))))

    (found,) = map(terminated, lab.pods(namespace))
    assert found is not None
    assert found["message"].strip() == "reader blue s3cret s3cret"


def test_a_container_that_ends_is_started_again_and_its_end_is_known(
    lab: LabCluster, namespace: str
) -> None:
    main = manifests.script("raise SystemExit('no such table: orders')")

    lab.apply(namespace, manifests.pod("broken", main))
    lab.wait(lambda: bool(restarts(lab, namespace)))

    (pod,) = lab.pods(namespace)
    last = terminated(pod, "lastState")
    assert last is not None
    assert (last["exitCode"], last["message"]) == (1, "no such table: orders\n")


def test_a_container_whose_liveness_probe_fails_is_started_again(
    lab: LabCluster, namespace: str
) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}

    main = manifests.script("import time; time.sleep(600)", livenessProbe=probe)
    lab.apply(namespace, manifests.pod("hung", main))

    lab.wait(lambda: bool(restarts(lab, namespace)))


def test_a_pod_may_drain_within_its_grace_time(lab: LabCluster, namespace: str) -> None:
    start_with_handler(lab, namespace, "drains", "lambda *_: (time.sleep(0.5), sys.exit(0))")

    last = last_state(lab, namespace, "drains", grace_s=60)

    assert last["exitCode"] == 0


def test_a_pod_is_killed_after_its_grace_time(lab: LabCluster, namespace: str) -> None:
    start_with_handler(lab, namespace, "stubborn", "signal.SIG_IGN")

    last = last_state(lab, namespace, "stubborn", grace_s=1)

    assert last["exitCode"] == 128 + signal.SIGKILL


def test_a_killed_api_server_ends_no_pod(lab: LabCluster, namespace: str) -> None:
    lab.apply(namespace, manifests.deployment("web", 1, server("one")))
    lab.wait_available(namespace, "web")
    pods = lab.pods(namespace)

    lab.control_plane.kill_api_server()
    while_away = answers(pods)
    lab.control_plane.start_api_server()

    assert while_away == ["one"]
    lab.wait_available(namespace, "web")
    assert [pod["metadata"]["uid"] for pod in lab.pods(namespace)] == [
        pod["metadata"]["uid"] for pod in pods
    ]


def test_the_log_of_a_container_is_read_and_followed_to_its_end(
    lab: LabCluster, namespace: str
) -> None:
    lab.apply(namespace, manifests.pod("counts", manifests.script(COUNT)))
    lab.wait(lambda: restarts(lab, namespace) >= 1)
    logs = ("logs", "counts", "--namespace", namespace)

    before = lab.kubectl(*logs, "--previous", "--tail=3")
    tail = lab.kubectl(*logs, "--previous", "--tail=1", "--timestamps")
    later = lab.kubectl(*logs, "--previous", "--since-time=2100-01-01T00:00:00Z")
    cut = lab.kubectl(*logs, "--previous", "--limit-bytes=3")
    followed = lab.kubectl(*logs, "--follow")

    assert before == "one\ntwo\n"
    assert tail[10:11] + tail[29:] == "TZ two\n"
    assert (later, cut, followed) == ("", "one", "one\ntwo\n")


def test_a_command_is_executed_as_the_processes_of_the_container(
    lab: LabCluster, namespace: str
) -> None:
    lab.apply(namespace, manifests.deployment("web", 1, server("one")))
    lab.wait_available(namespace, "web")
    command = ("exec", "--namespace", namespace, "deployment/web", "--stdin", "--")
    script = "import os, sys; print(os.environ['VERSION'], input()); sys.exit(int(sys.argv[1]))"

    printed = lab.kubectl(*command, "python", "-c", script, "0", stdin="two\n")
    with pytest.raises(AssertionError, match="terminated with exit code 3"):
        lab.kubectl(*command, "python", "-c", script, "3", stdin="two\n")

    assert printed == "one two\n"


def test_a_port_of_a_pod_is_forwarded_until_the_pod_is_gone(
    lab: LabCluster, namespace: str
) -> None:
    lab.apply(namespace, manifests.deployment("web", 1, server("one")))
    lab.wait_available(namespace, "web")
    (pod,) = lab.pods(namespace)
    name = pod["metadata"]["name"]

    command = ("port-forward", "--namespace", namespace, f"pod/{name}", "--address=127.0.0.1")
    forwarding = lab.start_kubectl(*command, ":8000")
    assert forwarding.stdout is not None
    with forwarding.stdout as printed:
        port = printed.readline().split(" -> ")[0].rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/"
        texts = [urllib.request.urlopen(url, timeout=30).read() for _ in range(2)]
        lab.kubectl("delete", "pod", name, "--namespace", namespace)
        with pytest.raises(OSError, match=r"closed|reset"):
            urllib.request.urlopen(url, timeout=30)

        assert forwarding.wait(30) == 1
    assert texts == [b"one", b"one"]


def start_with_handler(lab: LabCluster, namespace: str, name: str, handler: str) -> None:
    """Run a pod, and return when it has a handler of SIGTERM."""
    main = manifests.script(
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, {handler})\n"
        "open('/ready/file', 'w').close()\n"
        "time.sleep(600)",
        readinessProbe={"exec": {"command": ["test", "-e", "/ready/file"]}, "periodSeconds": 1},
        volumeMounts=[{"name": "ready", "mountPath": "/ready"}],
    )
    pod = manifests.pod(name, main, volumes=[{"name": "ready", "emptyDir": {}}])
    lab.apply(namespace, pod)
    scope = ("--namespace", namespace)
    lab.kubectl("wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={WAIT_S}s", *scope)


def restarts(lab: LabCluster, namespace: str) -> int:
    (pod,) = lab.pods(namespace)
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))


def last_state(lab: LabCluster, namespace: str, pod: str, *, grace_s: int) -> dict[str, Any]:
    """Delete a pod, and return how its container ended, as the last change before it was gone."""
    watching = lab.watch(namespace, "pods")
    with watching as changes:
        # The watch begins with the pod. Without it, the pod could be gone before the watch begins.
        next(changes)
        scope = ("--namespace", namespace, f"--grace-period={grace_s}")
        lab.kubectl("delete", "pod", pod, *scope)
        for change in changes:
            if change["type"] == "DELETED" and change["object"]["metadata"]["name"] == pod:
                found = terminated(change["object"])
                assert found is not None
                return found
    raise AssertionError("the watch ended")


def test_labs_of_one_machine_share_no_number_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with claimed_number() as number:
        monkeypatch.setattr(node_numbers, "_NUMBERS", range(number, number + 1))
        with pytest.raises(RuntimeError, match="have claimed all numbers"), claimed_number():
            raise AssertionError("two labs have one number")

    with claimed_number() as again:
        assert again == number
