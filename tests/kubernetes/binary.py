"""The programs of the lab, built from Go modules: a control plane in one binary, and helm.

The binary lies in a cache folder outside the tree, under the hash of its sources: only a change of
these builds it again; helm lies under its version. ``python -m tests.kubernetes.binary`` builds
those that are missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "lab"
HELM_MODULE = "helm.sh/helm/v3/cmd/helm"
HELM_VERSION = "v3.22.0"
_NAMES = ("main.go", "streaming.go", "go.mod", "go.sum")
_KUBERNETES = re.compile(r"k8s\.io/kubernetes (v\d+\.\d+\.\d+)\b")


def path() -> Path:
    """Return where the binary of these sources lies, once it is built."""
    content = hashlib.sha256(b"\0".join((SOURCES / name).read_bytes() for name in _NAMES))
    return _cache() / content.hexdigest()[:16] / "lab"


def helm() -> Path:
    """Return where helm lies, once it is built."""
    return _cache() / f"helm-{HELM_VERSION}" / "helm"


def is_built() -> bool:
    """Return whether both programs exist."""
    return path().is_file() and helm().is_file()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kubefox-lab")


def build() -> Path:
    """Return the control plane; build what is missing with Go, which takes minutes.

    Raises:
        RuntimeError: Go is missing, or the build failed.
    """
    if not helm().is_file():
        environ = {**_environ(), "GOBIN": str(helm().parent)}
        _go("install", "-trimpath", f"{HELM_MODULE}@{HELM_VERSION}", environ=environ)
    binary = path()
    if binary.is_file():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    unfinished = binary.with_name(f"lab-{os.getpid()}")
    options = ["-trimpath", "-ldflags", _linker_flags(), "-o", str(unfinished)]
    _go("build", *options, ".", environ=_environ())
    unfinished.rename(binary)
    return binary


def _environ() -> dict[str, str]:
    # GOFLAGS=-p=1 of the user leaves the rest of the machine to others.
    flags = f"-buildvcs=false {os.environ.get('GOFLAGS', '')}".strip()
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": flags}


def _go(*arguments: str, environ: dict[str, str]) -> None:
    try:
        subprocess.run(["nice", "go", *arguments], cwd=SOURCES, env=environ, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"the programs of the lab cannot be built: {error}. They need Go 1.26 or later, and "
            "its module proxy or a filled module cache."
        ) from error


def kubernetes_version() -> str:
    """Return the version of Kubernetes, such as ``v1.36.3``."""
    found = _KUBERNETES.search((SOURCES / "go.mod").read_text())
    assert found is not None, "go.mod names no version of k8s.io/kubernetes"
    return found[1]


def _linker_flags() -> str:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    names = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    versions = (f"-X k8s.io/component-base/version.{name}={names[name]}" for name in names)
    return " ".join(("-s -w", *versions))


def main() -> None:
    """Build the programs that are missing, and print the path of the control plane."""
    if not is_built():
        sys.stderr.write("building the control plane of the lab and helm: this takes minutes\n")
    sys.stdout.write(f"{build()}\n")


if __name__ == "__main__":
    main()
