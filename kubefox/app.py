"""An app: a folder in a Git repository with ``app.yaml`` and ``components/<name>/``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kubefox.digest import RuntimeSpec
from kubefox.formats import MAX_COMPONENTS, Label, Name, Size, checked


class Module(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of components and adapters, for people; it does not affect routing.

    Attributes:
        title: Title of the group.
        components: Names of the components in the group.
        adapters: Kinds of the adapters in the group, such as ``http``.
    """

    title: Label = ""
    components: Annotated[tuple[Name, ...], checked(Size(max_entries=MAX_COMPONENTS))] = ()
    adapters: Annotated[tuple[Name, ...], checked(Size(max_entries=MAX_COMPONENTS))] = ()


class AppSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``app.yaml``.

    Attributes:
        name: Name of the app: lower-case letters, digits and ``-``.
        title: Title for people.
        description: Description for people.
        modules: Groups of components and adapters, by a name of your choice.
    """

    name: str
    title: str = ""
    description: str = ""
    modules: dict[str, Module] = {}


class RuntimeSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The field ``runtime`` of ``component.yaml``.

    Attributes:
        kind: Language runtime; only ``python`` today.
        entry: Module file in the component's folder that defines ``kit``.
    """

    kind: str = RuntimeSpec().kind
    entry: str = RuntimeSpec().entry


class ComponentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``components/<name>/component.yaml``, which may be missing.

    Attributes:
        include: Files and folders outside the component's folder that belong to it, such as shared
            code and lock files; paths are relative to the app's folder.
        runtime: Runtime of the component; it is part of the content hash.
        image: Container image in which the component runs in a Kubernetes cluster, in place of the
            platform's: registry, repository and digest. It is part of the content hash.
    """

    include: tuple[str, ...] = ()
    runtime: RuntimeSection = RuntimeSection()
    image: str = ""

    @property
    def runtime_spec(self) -> RuntimeSpec:
        """How the component's files are run."""
        return RuntimeSpec(kind=self.runtime.kind, entry=self.runtime.entry, image=self.image)
