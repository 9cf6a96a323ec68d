"""Records as bytes: what most processes hold of 100,000 deployments and hardly ever read.

A decoded record is a dozen objects. Packed, it is one: a deployment takes 0.2 KB instead of 0.9 KB,
and the garbage collector has nothing to visit. A record is decoded whenever it is read, in 1 to 4
µs. Routing reads a record when it meets a context for the first time; what each request needs lies
in route bindings.

The packed form is msgpack with fields by position. It may change with every version: outside the
process, only checkpoints hold it, with ``packed_format``. The parts that deployments have in common
are not packed but shared.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterable, Sequence
from functools import cache
from sys import intern
from typing import Any, ClassVar, Generic, Protocol, TypeVar, Union, get_args, get_origin
from weakref import WeakValueDictionary

import msgspec

from kubefox.app import Module
from kubefox.deployment import Deployment, HasComponents, SourceRef, labels_of
from kubefox.environment import EnvironmentData, HTTPAdapter
from kubefox.records import KINDS, Record
from kubefox.release import ReleaseManifest

Kind = TypeVar("Kind")

_encode = msgspec.msgpack.Encoder().encode


class HasSharedContent(HasComponents, Protocol):
    """A deployment, or the parts of it that others share."""

    @property
    def title(self) -> str:
        """Title of the app."""

    @property
    def modules(self) -> dict[str, Module]:
        """Module name to its members."""


class SharedContent:
    """The parts that many deployments have in common; one object for all that are equal.

    Attributes:
        app: Name of the app.
        title: Title of the app.
        components: Component name to content hash.
        modules: Module name to its members.
    """

    __slots__ = ("__weakref__", "app", "components", "modules", "title")

    def __init__(self, record: HasSharedContent) -> None:
        self.app = intern(record.app)
        self.title = intern(record.title)
        self.components = {
            intern(name): intern(digest) for name, digest in record.components.items()
        }
        self.modules = record.modules

    @staticmethod
    def of(record: HasSharedContent) -> SharedContent:
        """Return the shared content of a deployment."""
        key = _encode((record.app, record.title, record.components, record.modules))
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = SharedContent(record)
        return found


_shared: WeakValueDictionary[bytes, SharedContent] = WeakValueDictionary()


class RecordEntry(msgspec.Struct, Generic[Kind], eq=False, gc=False):
    """A record and the KV revision that wrote it. The same object until the record changes.

    It is no part of a reference cycle, so the garbage collector need not know it.

    Attributes:
        packing: Makes the record of ``content``.
        content: The record, packed or as it is.
        shared: Shared contents of its deployments, in their order; or that of the deployment.
        revision: KV revision.
    """

    packing: Packing
    content: Any
    shared: Any
    revision: int

    @staticmethod
    def of(kind: str, record: Record, revision: int) -> RecordEntry[Any]:
        """Return the entry of a record of a kind."""
        packing = packing_of(kind)
        try:
            content, shared = packing.pack(record)
        except OverflowError:  # a value is an integer of more than 64 bits
            return RecordEntry(_UNPACKED, record, packing.shared_parts(record), revision)
        return RecordEntry(packing, content, shared, revision)

    @property
    def is_packed(self) -> bool:
        """Whether ``content`` is the packed record."""
        return self.packing is not _UNPACKED

    @property
    def contents(self) -> tuple[SharedContent, ...]:
        """The shared contents, as ``Packing.shared_of`` takes them."""
        shared = self.shared
        return () if shared is None else shared if isinstance(shared, tuple) else (shared,)

    @property
    def has_secrets(self) -> bool:
        """Whether the record has secrets."""
        return self.packing.has_secrets(self.content)

    @property
    def labels(self) -> frozenset[str]:
        """The labels of a deployment."""
        return self.packing.labels(self.content)

    @property
    def record(self) -> Kind:
        """The record; if it is packed, it is decoded unless it is the last one read of its kind."""
        packing = self.packing
        if packing.latest is self:
            return packing.latest_record  # type: ignore[no-any-return]
        found: Kind = packing.unpack(self.content, self.shared)
        packing.latest, packing.latest_record = self, found
        return found

    @property
    def fields(self) -> Kind:
        """An object with the record's attributes, to read them at once and not to keep.

        It is not of the record's type: without the conversion it takes a third of the time.
        """
        packing = self.packing
        if packing.latest_read is self:
            return packing.latest_fields  # type: ignore[no-any-return]
        found: Kind = packing.read(self.content, self.shared)
        packing.latest_read, packing.latest_fields = self, found
        return found


class Packing:
    """Keeps records of a kind as they are: of these there are few, or they are read often.

    Attributes:
        latest: Entry of the record that was read last: its reader often reads several fields.
        latest_record: The record.
        latest_read: Entry whose fields were read last.
        latest_fields: Its fields.
    """

    def __init__(self) -> None:
        self.latest: RecordEntry[Any] | None = None
        self.latest_record: Any = None
        self.latest_read: RecordEntry[Any] | None = None
        self.latest_fields: Any = None

    def pack(self, record: Any) -> tuple[Any, Any]:
        """Return the content and the shared parts of a record."""
        return record, None

    def unpack(self, content: Any, _shared: Any) -> Any:
        """Return the record."""
        return content

    def read(self, content: Any, shared: Any) -> Any:
        """Return an object with the record's attributes."""
        return self.unpack(content, shared)

    def shared_parts(self, _record: Any) -> Any:
        """Return the shared parts of a record."""
        return None

    def shared_of(self, _contents: Sequence[SharedContent]) -> Any:
        """Return the shared parts with these contents."""
        return None

    def has_secrets(self, content: Any) -> bool:
        """Return whether the record has secrets."""
        data = getattr(self.read(content, None), "data", None)
        return data is not None and bool(data.secrets)

    def labels(self, content: Any) -> frozenset[str]:
        """Return the labels of a deployment."""
        found: frozenset[str] = content.labels
        return found


_UNPACKED = Packing()
_STRUCT_KINDS = ("virtual-environment", "release", "rollout")


class StructPacking(Packing):
    """Packs records of any type.

    Args:
        kind: Type of the records.
    """

    def __init__(self, kind: type[Record]) -> None:
        super().__init__()
        self._kind = kind
        self._packed = packed_type(kind)
        self._decode = msgspec.msgpack.Decoder(self._packed).decode

    def pack(self, record: Any) -> tuple[Any, Any]:
        """Return the packed record."""
        return _encode(msgspec.convert(record, self._packed, from_attributes=True)), None

    def unpack(self, content: Any, _shared: Any) -> Any:
        """Return the record."""
        return msgspec.convert(self._decode(content), self._kind, from_attributes=True)

    def read(self, content: Any, _shared: Any) -> Any:
        """Return the packed record, whose attributes have the same names."""
        return self._decode(content)


class _OwnParts(msgspec.Struct, array_like=True, gc=False):
    """The parts of a deployment that it does not share."""

    name: str
    commit: str
    branch: str
    tag: str
    is_dirty: bool
    created_at_s: float
    activated_at_s: float
    version: str | None
    generation: int

    @staticmethod
    def of(record: Deployment) -> _OwnParts:
        source = record.source
        return _OwnParts(
            record.name,
            source.commit,
            source.branch,
            source.tag,
            source.is_dirty,
            record.created_at_s,
            record.activated_at_s,
            record.version,
            record.generation,
        )

    def with_shared(self, shared: SharedContent) -> Deployment:
        """Return the whole deployment."""
        return Deployment(
            name=self.name,
            app=shared.app,
            components=shared.components,
            version=self.version,
            title=shared.title,
            modules=shared.modules,
            source=SourceRef(
                commit=self.commit, branch=self.branch, tag=self.tag, is_dirty=self.is_dirty
            ),
            created_at_s=self.created_at_s,
            generation=self.generation,
            activated_at_s=self.activated_at_s,
        )


class DeploymentPacking(Packing):
    """Packs deployments."""

    _decode = msgspec.msgpack.Decoder(_OwnParts).decode

    def pack(self, record: Any) -> tuple[Any, Any]:
        """Return the packed deployment and its SharedContent."""
        return _encode(_OwnParts.of(record)), self.shared_parts(record)

    def shared_parts(self, record: Any) -> Any:
        """Return the SharedContent of a deployment."""
        return SharedContent.of(record)

    def shared_of(self, contents: Sequence[SharedContent]) -> Any:
        """Return the SharedContent of a deployment."""
        (content,) = contents
        return content

    def unpack(self, content: Any, shared: Any) -> Any:
        """Return the deployment."""
        return self._decode(content).with_shared(shared)

    def has_secrets(self, _content: Any) -> bool:
        """Return False."""
        return False

    def labels(self, content: Any) -> frozenset[str]:
        """Return the labels of a deployment."""
        own = self._decode(content)
        return labels_of(own.version, own.tag, own.branch, own.commit)


class _PackedManifest(msgspec.Struct, array_like=True, gc=False):
    id: str
    virtual_environment: str
    deployments: dict[str, _OwnParts]
    values: dict[str, Any]
    secrets: dict[str, Any]
    adapters: dict[str, HTTPAdapter]


class ManifestPacking(Packing):
    """Packs manifests, which hold deployments."""

    _decode: ClassVar = msgspec.msgpack.Decoder(_PackedManifest).decode

    def pack(self, record: Any) -> tuple[Any, Any]:
        """Return the packed manifest and the SharedContent of each deployment."""
        packed = _PackedManifest(
            record.id,
            record.virtual_environment,
            {app: _OwnParts.of(deployment) for app, deployment in record.deployments.items()},
            record.data.vars,
            record.data.secrets,
            record.adapters,
        )
        return _encode(packed), self.shared_parts(record)

    def shared_parts(self, record: Any) -> Any:
        """Return the SharedContent of each deployment."""
        return tuple(map(SharedContent.of, record.deployments.values()))

    def shared_of(self, contents: Sequence[SharedContent]) -> Any:
        """Return the SharedContent of each deployment."""
        return tuple(contents)

    def has_secrets(self, content: Any) -> bool:
        """Return whether the manifest has secrets."""
        return bool(self._decode(content).secrets)

    def unpack(self, content: Any, shared: Any) -> Any:
        """Return the manifest."""
        packed = self._decode(content)
        contents: Iterable[SharedContent] = shared
        return ReleaseManifest(
            id=packed.id,
            virtual_environment=packed.virtual_environment,
            deployments={
                app: own.with_shared(content)
                for (app, own), content in zip(packed.deployments.items(), contents, strict=True)
            },
            data=EnvironmentData(vars=packed.values, secrets=packed.secrets),
            adapters=packed.adapters,
        )


@cache
def packed_type(kind: Any) -> Any:
    """Return the type with the same fields that msgpack writes by position, without their names."""
    origin = get_origin(kind)
    if origin is not None or isinstance(kind, types.UnionType):
        packed = tuple(part if part is ... else packed_type(part) for part in get_args(kind))
        is_union = origin is Union or isinstance(kind, types.UnionType)
        return Union[packed] if is_union else origin[packed]  # noqa: UP007 - of a tuple
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = [(field.name, packed_type(field.type)) for field in msgspec.structs.fields(kind)]
        return msgspec.defstruct(f"Packed{kind.__name__}", fields, array_like=True, gc=False)
    return kind


@cache
def packed_format() -> bytes:
    """Return a digest of the kinds of records and their packed forms; it differs if they differ."""
    packed = [packed_type(KINDS[kind]) for kind in _STRUCT_KINDS]
    types = (*packed, _OwnParts, _PackedManifest, dict[str, Module])
    # Of a type, the first has the names of fields, the second the values of enums.
    known, schemas = msgspec.inspect.multi_type_info(types), msgspec.json.schema_components(types)
    parts = (sorted(KINDS), known, schemas)
    return hashlib.sha256(repr(parts).encode()).digest()


@cache
def packing_of(kind: str) -> Packing:
    """Return the packing of a kind of records."""
    match kind:
        case "deployment":
            return DeploymentPacking()
        case "manifest":
            return ManifestPacking()
        case _ if kind in _STRUCT_KINDS:
            return StructPacking(KINDS[kind])
        case _:
            return _UNPACKED
