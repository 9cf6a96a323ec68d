"""Where the API is, and the login to it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kubefox.errors import InvalidRequest
from pods.kubernetes.cluster import load_cluster, read_kubeconfig


def write_config(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    path = folder / "config"
    config = {
        "contexts": [
            {"name": "other", "context": {"cluster": "none", "user": "none"}},
            {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "current-context": "main",
    }
    path.write_text(json.dumps(config))
    return path


def test_the_current_context_of_a_kubeconfig_is_used(tmp_path: Path) -> None:
    data = base64.b64encode(b"PEM").decode()
    path = write_config(tmp_path, {"token": "t"}, **{"certificate-authority-data": data})

    cluster = load_cluster({"KUBECONFIG": str(path)})

    assert (cluster.server, cluster.namespace) == ("https://10.0.0.1:6443", "shop")
    assert (cluster.ca_pem, cluster.read_token()) == ("PEM", "t")
    assert repr(cluster) == "Cluster(https://10.0.0.1:6443, shop)"


def test_files_of_a_kubeconfig_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("PEM")
    path = write_config(tmp_path, {"tokenFile": "token"}, **{"certificate-authority": "ca.crt"})

    cluster = read_kubeconfig(path)
    (tmp_path / "token").write_text("first\n")
    first = cluster.read_token()
    (tmp_path / "token").write_text("second\n")

    assert (cluster.ca_pem, first, cluster.read_token()) == ("PEM", "first", "second")


def test_a_login_by_a_plugin_is_refused_with_what_is_supported(tmp_path: Path) -> None:
    path = write_config(tmp_path, {"exec": {"command": "cloud-login"}})

    with pytest.raises(InvalidRequest, match="none of token, tokenFile and client-certificate"):
        read_kubeconfig(path)


@pytest.mark.parametrize("text", ["", "{", "current-context: none\ncontexts: []", "[]"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(InvalidRequest, match=f"kubeconfig {path} cannot be used"):
        read_kubeconfig(path)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        read_kubeconfig(tmp_path / "none")


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_within_a_cluster_the_account_of_the_pod_is_used(
    tmp_path: Path, host: str, server: str
) -> None:
    for name, text in (("token", "t\n"), ("namespace", "shop\n"), ("ca.crt", "PEM")):
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}

    cluster = load_cluster(environ, tmp_path)

    assert (cluster.server, cluster.namespace, cluster.ca_pem) == (server, "shop", "PEM")
    assert cluster.read_token() == "t"


def test_without_a_cluster_the_way_to_name_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="set KUBECONFIG"):
        load_cluster({}, tmp_path)
