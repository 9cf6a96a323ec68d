"""The API of a cluster and the login to it, from a kubeconfig or from this pod's own account."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kubefox.errors import InvalidRequest

ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the token of a pod's service account."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The API of one cluster.

    Attributes:
        server: Its URL.
        namespace: Where the pods run.
        ca_pem: Certificates of the authorities that may have signed the server's; empty for those
            of the system.
        token: Bearer token, unless ``token_file`` names one.
        token_file: File with the bearer token, which Kubernetes replaces from time to time.
        certificate_file: Certificate of the client, or None.
        key_file: Key of the client's certificate.
    """

    server: str
    namespace: str = "default"
    ca_pem: str = ""
    token: str = ""
    token_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __repr__(self) -> str:
        return f"Cluster({self.server}, {self.namespace})"

    def in_namespace(self, namespace: str) -> Cluster:
        """Return the same cluster with another namespace for the pods."""
        return msgspec.structs.replace(self, namespace=namespace)

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context for its server. This reads files."""
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    def read_token(self) -> str:
        """Return the token that is valid now, or an empty string. This may read a file."""
        return self.token if self.token_file is None else self.token_file.read_text().strip()


def load_cluster(environ: Mapping[str, str], account: Path = ACCOUNT_FOLDER) -> Cluster:
    """Return the cluster that ``KUBECONFIG`` names, else the one that this process runs in.

    This reads files.

    Args:
        environ: Environment variables.
        account: Folder of the pod's service account.

    Raises:
        InvalidRequest: There is none, or its kubeconfig cannot be used.
    """
    if config := environ.get("KUBECONFIG"):
        return read_kubeconfig(Path(config))
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (account / "token").is_file():
        raise InvalidRequest(
            "there is no cluster: set KUBECONFIG to the path of a "
            "kubeconfig, or run the platform in a pod with a service account"
        )
    return Cluster(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=(account / "namespace").read_text().strip(),
        ca_pem=(account / "ca.crt").read_text(),
        token_file=account / "token",
    )


def read_kubeconfig(path: Path) -> Cluster:
    """Return the cluster of a kubeconfig's current context. This reads files.

    Raises:
        InvalidRequest: The file cannot be read, or names a kind of login that is not supported.
    """
    import yaml  # noqa: PLC0415 - a process without a kubeconfig does without it

    try:
        config = yaml.safe_load(path.read_text())
        context = _entry(config, "contexts", config["current-context"])["context"]
        cluster = _entry(config, "clusters", context["cluster"])["cluster"]
        user = _entry(config, "users", context["user"])["user"]
        return _cluster(cluster, user, context.get("namespace", "default"), path.parent)
    except OSError as error:
        raise InvalidRequest(f"kubeconfig {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise InvalidRequest(f"kubeconfig {path} cannot be used: {error!r}") from error


def _cluster(
    cluster: Mapping[str, Any], user: Mapping[str, Any], namespace: str, folder: Path
) -> Cluster:
    if not user.keys() & {"token", "tokenFile", "client-certificate"}:
        raise InvalidRequest(
            "the user of the kubeconfig's current context has none of token, tokenFile and "
            "client-certificate: plug-ins and certificates in the file are not supported"
        )
    ca_pem = ""
    if data := cluster.get("certificate-authority-data"):
        ca_pem = base64.b64decode(data).decode()
    elif name := cluster.get("certificate-authority"):
        ca_pem = (folder / name).read_text()
    files = {
        field: folder / user[name]
        for field, name in (
            ("token_file", "tokenFile"),
            ("certificate_file", "client-certificate"),
            ("key_file", "client-key"),
        )
        if name in user
    }
    return Cluster(
        server=cluster["server"].rstrip("/"),
        namespace=namespace,
        ca_pem=ca_pem,
        token=user.get("token", ""),
        **files,
    )


def _entry(config: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    entries: dict[str, Mapping[str, Any]] = {entry["name"]: entry for entry in config[kind]}
    return entries[name]
