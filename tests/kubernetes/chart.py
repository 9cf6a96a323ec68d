"""The chart: rendered and installed by helm in a namespace of the lab. All of it blocks."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes import binary
from tests.kubernetes.any_cluster import WAIT_S, AnyCluster
from tests.kubernetes.kubectl import COMMAND_S

CHART = Path(__file__).parent.parent.parent / "charts" / "kubefox"
RELEASE = "kubefox"
Values = dict[str, Any]
Objects = list[dict[str, Any]]


def helm(folder: Path, *arguments: str, succeeds: bool = True) -> str:
    """Run helm and return its output.

    Args:
        folder: For its files, which it would write to the home folder.
        arguments: Of the command.
        succeeds: Whether it is expected to.

    Raises:
        AssertionError: It is not so; the message is its own.
    """
    done = subprocess.run(
        [_program(), *arguments],
        env={**os.environ, "HELM_CACHE_HOME": str(folder), "HELM_CONFIG_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=2 * COMMAND_S,
        check=False,
    )
    assert (done.returncode == 0) is succeeds, f"helm {' '.join(arguments)}: {done.stderr}"
    return done.stdout if succeeds else done.stderr


def template(
    folder: Path,
    values: Values,
    namespace: str = "default",
    *,
    succeeds: bool = True,
    source: Path = CHART,
) -> str:
    """Return the objects that a chart makes of some values, as YAML; or why it refuses them."""
    # Helm asks no cluster for its version here.
    where = ("--namespace", namespace, "--kube-version", binary.kubernetes_version())
    options = ("--values", str(_written(folder, values)))
    return helm(folder, "template", RELEASE, str(source), *where, *options, succeeds=succeeds)


def rendered(
    folder: Path, values: Values, namespace: str = "default", *, source: Path = CHART
) -> Objects:
    """Return the objects that a chart makes of some values."""
    documents = yaml.safe_load_all(template(folder, values, namespace, source=source))
    return [document for document in documents if document]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """Return the objects of some kinds, in their order."""
    return [each for each in objects if each["kind"] in kinds]


def environment(objects: Objects, role: str) -> dict[str, str]:
    """Return the variables of a part of the platform that have a value."""
    (part,) = (
        each
        for each in of_kind(objects, "Deployment")
        if each["metadata"]["name"] == f"{RELEASE}-{role}"
    )
    (container,) = part["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def install(cluster: AnyCluster, folder: Path, namespace: str, values: Values) -> str:
    """Install or upgrade the chart, and return its notes when all of its parts are available."""
    return helm(
        folder,
        *("upgrade", "--install", RELEASE, str(CHART), "--namespace", namespace),
        *("--kubeconfig", str(cluster.kubeconfig)),
        *("--values", str(_written(folder, values)), "--wait", f"--timeout={2 * WAIT_S:.0f}s"),
    )


def uninstall(cluster: AnyCluster, folder: Path, namespace: str) -> None:
    """Remove what the chart has made, if it is there."""
    where = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    options = ("--ignore-not-found", "--wait", f"--timeout={2 * WAIT_S:.0f}s")
    helm(folder, "uninstall", RELEASE, *where, *options)


def _program() -> Path | str:
    # On a cluster that is not the lab, that of the user.
    return binary.helm() if binary.helm().is_file() else "helm"


def _written(folder: Path, values: Values) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    return file
