"""The custom resources of a Kubernetes cluster: the YAML kinds as a cluster has them.

Users write resources of the kinds in ``KINDS``, and the platform applies them. Those of the kinds
in ``MIRRORS`` show what the platform has; only the platform writes them. Their definitions (CRDs)
are generated from these structs, as the reference of the YAML kinds is.

Everybody who may read a resource sees all of its fields. So secrets are not among them: a resource
names a Secret of the cluster instead.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, assert_never

import msgspec

from kubefox.formats import Format, documented
from kubefox.yaml_kinds import (
    API_VERSION,
    Data,
    Document,
    EnvironmentDocument,
    EnvironmentSpec,
    Fields,
    HTTPAdapterDocument,
    HTTPAdapterSpec,
    Metadata,
    Vars,
    VirtualEnvironmentDocument,
    VirtualEnvironmentSpec,
)

GROUP, VERSION = API_VERSION.split("/")
FINALIZER = f"{GROUP}/platform"
"""Keeps a resource until its object is deleted from the platform."""
FORCE = f"{GROUP}/force"
"""Annotation; ``true`` is what ``--force`` is for ``fox apply`` and ``fox delete``."""

SECRET_NAME = Format(
    noun="name of a Secret",
    pattern="[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?",
    max_length=253,
    expected="a-z, 0-9, '-' and '.', with a letter or digit at both ends",
)


class SecretReference(Fields, frozen=True, kw_only=True):
    """A Secret of the cluster.

    Attributes:
        name: Name of the Secret, in the namespace of the resource.
    """

    name: Annotated[str, documented(SECRET_NAME)]


class ResourceData(Fields, frozen=True, kw_only=True):
    """The values of an environment or a virtual environment.

    Attributes:
        vars: Variables by name: strings, numbers, booleans, or lists of strings or numbers. Rules
            and components read them.
        secret_ref: Secret of the cluster whose keys are the secrets, and whose values are texts.
            Only adapters read them. A change of it is applied within a minute. An annotation of the
            Secret names the resources that may use it.
    """

    vars: Vars = msgspec.field(default_factory=dict)
    secret_ref: SecretReference | None = None


class EnvironmentResource(Fields, frozen=True, kw_only=True):
    """An environment: values that several virtual environments share.

    Attributes:
        spec: Settings of the environment.
        data: Values of the environment.
    """

    spec: EnvironmentSpec = EnvironmentSpec()
    data: ResourceData = ResourceData()


class VirtualEnvironmentResource(Fields, frozen=True, kw_only=True):
    """A virtual environment: an overlay of an environment, with a release.

    Attributes:
        spec: Settings of the virtual environment.
        data: Values; they win over the values of the environment.
    """

    spec: VirtualEnvironmentSpec
    data: ResourceData = ResourceData()


class HTTPAdapterResource(Fields, frozen=True, kw_only=True):
    """An HTTP adapter: an HTTP service outside the platform.

    Attributes:
        spec: Settings of the adapter.
    """

    spec: HTTPAdapterSpec


Resource = EnvironmentResource | VirtualEnvironmentResource | HTTPAdapterResource


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One condition of a resource.

    Attributes:
        type: ``Synced``: whether the platform has this generation. ``Ready``: whether it is in
            effect too, such as the release of a virtual environment. A resource that is not ready
            has one more: ``Stalled`` if only a change of the resource helps, else ``Reconciling``.
        status: ``True`` or ``False``.
        reason: Reason in one word, such as ``Applied`` or ``InUse``.
        message: Description for people.
        observed_generation: Generation of the resource that the condition is about.
        last_transition_time: Time of the last change of ``status``.
    """

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


class ResourceStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The status of a resource, which the platform writes.

    Attributes:
        observed_generation: Generation of the resource that the status is about; -1 before the
            first status.
        revision: Revision of the platform's object.
        conditions: Conditions of the resource.
    """

    observed_generation: int = 0
    revision: int = 0
    conditions: tuple[Condition, ...] = ()


class VirtualEnvironmentStatus(ResourceStatus, frozen=True, kw_only=True):
    """The status of a virtual environment.

    Attributes:
        released_generation: Generation whose ``spec.release`` was requested last. It is requested
            once, so that a rollback by ``fox`` lasts until the resource changes.
        active_release: Id of the release that is active, or empty.
        pending_release: Id of the release that is pending, or empty.
    """

    released_generation: int = 0
    active_release: str = ""
    pending_release: str = ""


class _Mirrored(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Fields that the platform writes."""


class DeploymentSource(_Mirrored, frozen=True, kw_only=True):
    """The origin of a deployment in Git.

    Attributes:
        commit: Commit, or empty outside a repository.
        branch: Branch, or empty.
        tag: Tag, or empty.
        is_dirty: Whether uncommitted changes were included.
    """

    commit: str
    branch: str
    tag: str
    is_dirty: bool


class AppDeploymentSpec(_Mirrored, frozen=True, kw_only=True):
    """The content of a deployment.

    Attributes:
        app: Name of the app.
        version: Version, or empty for a deployment that can change.
        title: Title of the app.
        generation: Number of the content among those that the deployment has had.
        components: Content hash of each component, by its name.
        source: Origin of the content in Git.
    """

    app: str
    version: str
    title: str
    generation: int
    components: dict[str, str]
    source: DeploymentSource


class AppDeploymentResource(_Mirrored, frozen=True, kw_only=True):
    """A deployment of the platform; read-only: `fox deploy` makes it.

    Attributes:
        spec: Content of the deployment.
    """

    spec: AppDeploymentSpec


class ManifestApp(_Mirrored, frozen=True, kw_only=True):
    """The deployment of one app in a release.

    Attributes:
        app_deployment: Name of the deployment.
        version: Version of the deployment, or empty.
    """

    app_deployment: str
    version: str


class ReleaseManifestSpec(_Mirrored, frozen=True, kw_only=True):
    """The content that a release has frozen; the values are not shown.

    Attributes:
        virtual_environment: Name of the virtual environment.
        release: Id of the release.
        apps: Deployment of each app, by the name of the app.
    """

    virtual_environment: str
    release: str
    apps: dict[str, ManifestApp]


class ReleaseManifestResource(_Mirrored, frozen=True, kw_only=True):
    """The frozen data of a release of policy `Stable`; read-only: a release makes it.

    Attributes:
        spec: Content of the manifest.
    """

    spec: ReleaseManifestSpec


class ResourceKind(NamedTuple):
    """A kind of resource.

    Attributes:
        kind: Its name.
        plural: The same in URLs.
        short_names: Other names for ``kubectl``.
        resource: Struct of the fields besides the status.
        status: Struct of the status.
    """

    kind: str
    plural: str
    short_names: tuple[str, ...]
    resource: type[Any]
    status: type[ResourceStatus]

    def path(self, namespace: str) -> str:
        """Return the path of the resources of a namespace in the API of the cluster."""
        return f"/apis/{API_VERSION}/namespaces/{namespace}/{self.plural}"

    @property
    def allowing_annotation(self) -> str:
        """Annotation of a Secret: the resources of this kind that may use it, see ``names_in``."""
        return f"{GROUP}/{self.plural}"


ENVIRONMENT = ResourceKind(
    "Environment", "environments", ("fenv",), EnvironmentResource, ResourceStatus
)
VIRTUAL_ENVIRONMENT = ResourceKind(
    "VirtualEnvironment",
    "virtualenvironments",
    ("ve",),
    VirtualEnvironmentResource,
    VirtualEnvironmentStatus,
)
HTTP_ADAPTER = ResourceKind(
    "HTTPAdapter", "httpadapters", ("fha",), HTTPAdapterResource, ResourceStatus
)
APP_DEPLOYMENT = ResourceKind(
    "AppDeployment", "appdeployments", ("appdep",), AppDeploymentResource, ResourceStatus
)
RELEASE_MANIFEST = ResourceKind(
    "ReleaseManifest", "releasemanifests", ("relman",), ReleaseManifestResource, ResourceStatus
)
KINDS = (ENVIRONMENT, HTTP_ADAPTER, VIRTUAL_ENVIRONMENT)
MIRRORS = (APP_DEPLOYMENT, RELEASE_MANIFEST)


def names_in(annotation: str) -> frozenset[str]:
    """Return the names in the value of an annotation; commas separate them."""
    return frozenset(name.strip() for name in annotation.split(",")) - {""}


def to_document(name: str, resource: Resource, secrets: dict[str, str]) -> Document:
    """Return the document with the same content as a resource.

    Args:
        name: Name of the resource.
        resource: Its fields.
        secrets: Content of the Secret that it names.
    """
    meta = Metadata(name=name)
    match resource:
        case EnvironmentResource(spec=spec, data=data):
            return EnvironmentDocument(
                api_version=API_VERSION,
                kind=ENVIRONMENT.kind,
                metadata=meta,
                spec=spec,
                data=Data(vars=data.vars, secrets=secrets),
            )
        case VirtualEnvironmentResource(spec=spec, data=data):
            return VirtualEnvironmentDocument(
                api_version=API_VERSION,
                kind=VIRTUAL_ENVIRONMENT.kind,
                metadata=meta,
                spec=spec,
                data=Data(vars=data.vars, secrets=secrets),
            )
        case HTTPAdapterResource(spec=spec):
            return HTTPAdapterDocument(
                api_version=API_VERSION, kind=HTTP_ADAPTER.kind, metadata=meta, spec=spec
            )
        case _:
            assert_never(resource)
