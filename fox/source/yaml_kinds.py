"""The YAML kinds of ``kubefox.xigxog.io/v1alpha1``: the structs of their documents.

An unknown field is an error, because a misspelt field would otherwise be ignored silently. The
reference documentation of the kinds is generated from these structs and their docstrings.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kubefox.environment import PolicyType
from kubefox.selection import Selection


class _Fields(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """A part of a document, with camel-case names in YAML."""


class Metadata(_Fields, frozen=True, kw_only=True):
    """The identity of an object.

    Attributes:
        name: Name of the object: lower-case letters, digits and ``-``.
    """

    name: str


class HistoryLimits(_Fields, frozen=True, kw_only=True):
    """Limits of the release history.

    Attributes:
        count: Number of archived releases that are kept; 10 by default.
    """

    count: int | None = None


class ReleasePolicyFields(_Fields, frozen=True, kw_only=True):
    """The rules for releases of a virtual environment.

    Attributes:
        type: ``Stable`` freezes deployments, variables, secrets and adapters in a manifest, and
            needs versions. ``Testing`` follows the live values.
        activation_deadline_seconds: Longest time that a release may be pending, in seconds; 300 by
            default.
        history_limits: Limits of the release history.
    """

    type: PolicyType = PolicyType.STABLE
    activation_deadline_seconds: float | None = None
    history_limits: HistoryLimits = HistoryLimits()


class Data(_Fields, frozen=True, kw_only=True):
    """The values of an environment or a virtual environment.

    Attributes:
        vars: Variables by name: strings, numbers, booleans, or lists of strings or numbers. Rules
            and components read them.
        secrets: Secrets by name, of the same types. Only adapters read them; every output masks
            them.
    """

    vars: dict[str, Any] = {}
    secrets: dict[str, Any] = {}


class EnvironmentSpec(_Fields, frozen=True, kw_only=True):
    """The settings of an environment.

    Attributes:
        release_policy: Release policy of the virtual environments that have none.
        production: Whether requests may select only what is released in its virtual environments,
            on every listener.
        selection: What else requests may select in its virtual environments: ``open`` allows all
            deployments, ``signed`` those of a share, ``released`` nothing. The stricter one of
            this, the virtual environment's and the listener's counts.
    """

    release_policy: ReleasePolicyFields | None = None
    production: bool = False
    selection: Selection | None = None


class AppRelease(_Fields, frozen=True, kw_only=True):
    """The released deployment of one app.

    Attributes:
        app_deployment: Name of the deployment.
        version: Version that the deployment must have.
    """

    app_deployment: str
    version: str | None = None


class ReleaseFields(_Fields, frozen=True, kw_only=True):
    """A release of a virtual environment.

    Attributes:
        apps: The released deployment of each app, by the name of the app; ``{}`` withdraws the
            release.
    """

    apps: dict[str, AppRelease]


class VirtualEnvironmentSpec(_Fields, frozen=True, kw_only=True):
    """The settings of a virtual environment.

    Attributes:
        environment: Name of the environment that it overlays; it cannot be changed.
        release_policy: Release policy; it wins over the policy of the environment.
        production: Whether requests may select only what is released in it, on every listener.
        selection: What else requests may select in it; see ``spec.selection`` of the environment.
        release: The release to request; without it, the current release is not changed.
    """

    environment: str
    release_policy: ReleasePolicyFields | None = None
    production: bool = False
    selection: Selection | None = None
    release: ReleaseFields | None = None


class HTTPAdapterSpec(_Fields, frozen=True, kw_only=True):
    """The settings of an HTTP adapter.

    Attributes:
        url: Base URL of the service; it may contain ``{{.Vars.x}}`` and ``{{.Secrets.x}}``.
        headers: Headers that are added to each request; values may contain the same as ``url``.
        insecure_skip_verify: Whether a TLS certificate that cannot be verified is accepted.
        follow_redirects: Whether redirects are followed instead of returned.
    """

    url: str
    headers: dict[str, str] = {}
    insecure_skip_verify: bool = False
    follow_redirects: bool = False


class _Document(_Fields, frozen=True, kw_only=True):
    """The fields that all kinds have.

    Attributes:
        api_version: Version of the format.
        kind: Kind of the object.
        metadata: Identity of the object.
    """

    api_version: Literal["kubefox.xigxog.io/v1alpha1"]
    kind: str
    metadata: Metadata


class EnvironmentDocument(_Document, frozen=True, kw_only=True):
    """An environment: values that several virtual environments share.

    Attributes:
        spec: Settings of the environment.
        data: Values of the environment.
    """

    spec: EnvironmentSpec = EnvironmentSpec()
    data: Data = Data()


class VirtualEnvironmentDocument(_Document, frozen=True, kw_only=True):
    """A virtual environment: an overlay of an environment, with a release.

    Attributes:
        spec: Settings of the virtual environment.
        data: Values; they win over the values of the environment.
    """

    spec: VirtualEnvironmentSpec
    data: Data = Data()


class HTTPAdapterDocument(_Document, frozen=True, kw_only=True):
    """An HTTP adapter: an HTTP service outside the platform.

    Attributes:
        spec: Settings of the adapter.
    """

    spec: HTTPAdapterSpec


Document = EnvironmentDocument | VirtualEnvironmentDocument | HTTPAdapterDocument
KINDS: dict[str, type[Document]] = {
    "Environment": EnvironmentDocument,
    "VirtualEnvironment": VirtualEnvironmentDocument,
    "HTTPAdapter": HTTPAdapterDocument,
}
