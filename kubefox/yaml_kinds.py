"""The YAML kinds of ``kubefox.xigxog.io/v1alpha1``: the structs of their documents.

An unknown field is an error, because a misspelt field would otherwise be ignored silently. The
reference documentation of the kinds is generated from these structs and their docstrings, and so
are the definitions for a Kubernetes cluster. Limits that the types do not have are marked: the
platform checks them when it stores an object.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from kubefox.environment import MAX_HEADERS, MAX_HISTORY, PolicyType
from kubefox.formats import (
    DEADLINE_S,
    HEADER,
    MAX_ENTRIES,
    NAME,
    URL,
    VALUE_NAME,
    Label,
    Name,
    Range,
    Size,
    documented,
)
from kubefox.release import MAX_APPS
from kubefox.selection import Selection

API_VERSION: Literal["kubefox.xigxog.io/v1alpha1"] = "kubefox.xigxog.io/v1alpha1"
"""Version of the format."""

Vars = Annotated[dict[str, Any], documented(Size(max_entries=MAX_ENTRIES, keys=VALUE_NAME))]


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a document, with camel-case names in YAML."""


class Metadata(Fields, frozen=True, kw_only=True):
    """The identity of an object.

    Attributes:
        name: Name of the object: lower-case letters, digits and ``-``.
    """

    name: Name


class HistoryLimits(Fields, frozen=True, kw_only=True):
    """Limits of the release history.

    Attributes:
        count: Number of archived releases that are kept; 10 by default.
    """

    count: Annotated[int, documented(Range(minimum=1, maximum=MAX_HISTORY))] | None = None


class ReleasePolicyFields(Fields, frozen=True, kw_only=True):
    """The rules for releases of a virtual environment.

    Attributes:
        type: ``Stable`` freezes deployments, variables, secrets and adapters in a manifest, and
            needs versions. ``Testing`` follows the live values.
        activation_deadline_seconds: Longest time that a release may be pending, in seconds; 300 by
            default.
        history_limits: Limits of the release history.
    """

    type: PolicyType = PolicyType.STABLE
    activation_deadline_seconds: Annotated[float, documented(DEADLINE_S)] | None = None
    history_limits: HistoryLimits = HistoryLimits()


class Data(Fields, frozen=True, kw_only=True):
    """The values of an environment or a virtual environment.

    Attributes:
        vars: Variables by name: strings, numbers, booleans, or lists of strings or numbers. Rules
            and components read them.
        secrets: Secrets by name, of the same types. Only adapters read them; every output masks
            them.
    """

    vars: Vars = {}
    secrets: Vars = {}


class EnvironmentSpec(Fields, frozen=True, kw_only=True):
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


class AppRelease(Fields, frozen=True, kw_only=True):
    """The released deployment of one app.

    Attributes:
        app_deployment: Name of the deployment.
        version: Version that the deployment must have.
    """

    app_deployment: Name
    version: Label | None = None


class ReleaseFields(Fields, frozen=True, kw_only=True):
    """A release of a virtual environment.

    Attributes:
        apps: The released deployment of each app, by the name of the app; ``{}`` withdraws the
            release.
    """

    apps: Annotated[dict[str, AppRelease], documented(Size(max_entries=MAX_APPS, keys=NAME))]


class VirtualEnvironmentSpec(Fields, frozen=True, kw_only=True):
    """The settings of a virtual environment.

    Attributes:
        environment: Name of the environment that it overlays; it cannot be changed.
        release_policy: Release policy; it wins over the policy of the environment.
        production: Whether requests may select only what is released in it, on every listener.
        selection: What else requests may select in it; see ``spec.selection`` of the environment.
        release: The release to request; without it, the current release is not changed.
    """

    environment: Name
    release_policy: ReleasePolicyFields | None = None
    production: bool = False
    selection: Selection | None = None
    release: ReleaseFields | None = None


class HTTPAdapterSpec(Fields, frozen=True, kw_only=True):
    """The settings of an HTTP adapter.

    Attributes:
        url: Base URL of the service; it may contain ``{{.Vars.x}}`` and ``{{.Secrets.x}}``.
        headers: Headers that are added to each request; values may contain the same as ``url``.
        insecure_skip_verify: Whether a TLS certificate that cannot be verified is accepted.
        follow_redirects: Whether redirects are followed instead of returned.
    """

    url: Annotated[str, documented(URL)]
    headers: Annotated[dict[str, str], documented(Size(max_entries=MAX_HEADERS, keys=HEADER))] = {}
    insecure_skip_verify: bool = False
    follow_redirects: bool = False


class _Document(Fields, frozen=True, kw_only=True):
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
