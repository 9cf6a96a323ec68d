"""The program of the lab: a Kubernetes control plane in one binary, built from its Go modules.

The binary lies in a cache folder outside the tree, under the hash of its sources: only a change of
these builds it again. ``python -m tests.kubernetes.binary`` builds it if it is missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "lab"
_NAMES = ("main.go", "go.mod", "go.sum")
_KUBERNETES = re.compile(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)\b")


def path() -> Path:
    """Return where the binary of these sources lies, once it is built."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    content = hashlib.sha256(b"\0".join((SOURCES / name).read_bytes() for name in _NAMES))
    return Path(cache, "kubefox-lab", content.hexdigest()[:16], "lab")


def is_built() -> bool:
    """Return whether the binary of these sources exists."""
    return path().is_file()


def build() -> Path:
    """Return the binary; build it with Go if it is missing, which takes minutes.

    Raises:
        RuntimeError: Go is missing, or the build failed.
    """
    binary = path()
    if binary.is_file():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    unfinished = binary.with_name(f"lab-{os.getpid()}")
    options = ["-trimpath", "-ldflags", _linker_flags(), "-o", str(unfinished)]
    # One package at a time: a build of 1,500 packages would take the machine from all others.
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -p=1"}
    try:
        subprocess.run(["nice", "go", "build", *options, "."], cwd=SOURCES, env=environ, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"the lab's control plane cannot be built: {error}. It needs Go 1.26 or later, and its "
            "module proxy or a filled module cache."
        ) from error
    unfinished.rename(binary)
    return binary


def _linker_flags() -> str:
    found = _KUBERNETES.search((SOURCES / "go.mod").read_text())
    assert found is not None, "go.mod names no version of k8s.io/kubernetes"
    major, minor, patch = found.groups()
    names = {"gitVersion": f"v{major}.{minor}.{patch}", "gitMajor": major, "gitMinor": minor}
    versions = (f"-X k8s.io/component-base/version.{name}={names[name]}" for name in names)
    return " ".join(("-s -w", *versions))


def main() -> None:
    """Build the binary if it is missing, and print its path."""
    if not is_built():
        sys.stderr.write("building the control plane of the lab: this takes minutes\n")
    sys.stdout.write(f"{build()}\n")


if __name__ == "__main__":
    main()
