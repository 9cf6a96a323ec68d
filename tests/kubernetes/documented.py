"""The commands of the documentation, run against a namespace of the lab."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.e2e.documents import page, run_script
from tests.kubernetes import binary
from tests.kubernetes.any_cluster import WAIT_S
from tests.kubernetes.chart import CHART
from tests.kubernetes.lab_cluster import LabCluster

_CODE = re.compile(r"```sh\n(.*?)```", re.DOTALL)
# The namespace of the documentation, and not the release, the files or the chart of this name.
_NAMESPACE = re.compile(
    r"(--namespace|create namespace|label namespace|delete namespace) kubefox\b"
)


def commands(name: str, heading: str) -> list[str]:
    """Return the code blocks of a section of a page, in their order.

    Args:
        name: Of the page.
        heading: Of the section, with its ``#``.
    """
    level = heading.partition(" ")[0]
    _, _, rest = page(name).partition(f"\n{heading}\n")
    # Up to the next heading of this level or above.
    section = re.split(rf"^#{{2,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    found = _CODE.findall(section)
    assert found, f"the page {name} has no commands below {heading}"
    return found


class Shell:
    """Runs commands as an operator of the cluster does, with its kubectl and helm.

    Args:
        cluster: The cluster.
        namespace: Takes the place of the namespace ``kubefox``.
        folder: Where the commands run.
    """

    def __init__(self, cluster: LabCluster, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self._programs = folder / "programs"
        self._programs.mkdir(parents=True)
        (folder / "charts").symlink_to(CHART.parent)
        control_plane = cluster.control_plane
        kubeconfig = f"--kubeconfig={control_plane.kubeconfig}"
        cache = f"--cache-dir={control_plane.folder / 'kubectl-cache'}"
        self._write("kubectl", control_plane.program, "kubectl", kubeconfig, cache)
        self._write("helm", binary.helm(), kubeconfig)

    async def run(self, script: str) -> str:
        """Run a script, and return its output.

        Raises:
            AssertionError: A command failed; shows all output.
        """
        script = _NAMESPACE.sub(rf"\1 {self._namespace}", script)
        script = script.replace(" --wait ", f" --wait --timeout={2 * WAIT_S:.0f}s ")
        return await run_script(
            f'export PATH="{self._programs}:$PATH"\n{script}',
            cwd=self._folder,
            HELM_CACHE_HOME=str(self._folder),
            HELM_CONFIG_HOME=str(self._folder),
        )

    def _write(self, name: str, *words: str | Path) -> None:
        file = self._programs / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
        file.chmod(0o700)
