"""An app: a folder in a Git repository with ``app.yaml`` and ``components/<name>/``."""

from __future__ import annotations

import msgspec

from model.digest import RuntimeSpec


class Module(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grouping of components and adapters, for people; it has no effect on routing."""

    title: str = ""
    components: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


class AppSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``app.yaml``."""

    name: str
    title: str = ""
    description: str = ""
    modules: dict[str, Module] = {}


class ComponentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``components/<name>/component.yaml``, which may be missing.

    Attributes:
        include: Files and folders outside the component's folder that belong to it: shared
            code and lock files, relative to the app's folder.
        runtime: How the files are run.
    """

    include: tuple[str, ...] = ()
    runtime: RuntimeSpec = RuntimeSpec()
